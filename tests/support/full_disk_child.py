"""A process whose ledger lies on a disk that becomes full: `full_disk_child.py FOLDER`."""

import sys
from pathlib import Path

import trio

from streamnursery import StorageError, open_engine


async def main(folder: Path) -> None:
    config = {
        "models": {"sim/fast": {"price": {"input": "0", "output": "1"}}},
        "budgets": {"daily": "1", "ledger": str(folder / "money" / "ledger.db")},
    }
    async with open_engine(config, seed=1) as engine:
        await engine.complete("sim/fast", "Hi", max_tokens=3)
        await engine._spending.store.refresh()  # what it cost is on the disk
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(512)):
                    pass
            except OSError as error:
                sys.stdout.write(f"full: {error.strerror}\n")
        refused = 0
        for _ in range(20):  # the log of the database has room of its own for a few
            try:
                await engine.complete("sim/fast", "Hi", max_tokens=3)
            except StorageError as error:
                refused += 1
                sys.stdout.write(f"refused: {error}\n")
        sys.stdout.write(f"refused {refused} times\n")
        filler.unlink()
        await engine.complete("sim/fast", "Hi", max_tokens=3)
        sys.stdout.write("admitted again\n")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
