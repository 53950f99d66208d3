"""The example for Ray Data, with an actor that is killed while it works: `OUT` has what is told.

Each actor notes its process, once. The first of them to have answered a few blocks gets a SIGKILL
from itself: its engine, its connections and what it was answering are gone.
"""

import importlib.util
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ray

EXAMPLE = Path(__file__).parents[3] / "examples" / "ray_data.py"
MARK = Path(os.environ["MARK"])
BLOCKS = 5


def example() -> Any:
    spec = importlib.util.spec_from_file_location("ray_data", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Mortal:
    """The example's actor; the first one dies."""

    def __init__(self) -> None:
        self._inner = example().Answers()
        self._answered = 0
        with (MARK / "actors").open("a") as file:
            file.write(f"{os.getpid()}\n")

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        async for answer in self._inner(batch):
            self._answered += 1
            if self._answered == BLOCKS and not _killed():
                os.kill(os.getpid(), signal.SIGKILL)
            yield answer


def _killed() -> bool:
    """Whether there was one before, who has died."""
    try:
        (MARK / "killed").open("x").close()
    except FileExistsError:
        return True
    return False


def main() -> None:
    rows = int(os.environ["ROWS"])
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    dataset = ray.data.range(rows, override_num_blocks=100).map_batches(
        Mortal, concurrency=2, batch_size=100, max_concurrency=4
    )
    answers = dataset.take_all()
    assert sorted(row["id"] for row in answers) == list(range(rows))
    assert all(row["text"] for row in answers)
    failed = sum(bool(row["error"]) for row in answers)
    actors = len((MARK / "actors").read_text().splitlines())
    assert (MARK / "killed").exists()
    print(f"{len(answers)} rows, each once; {failed} failed; {actors} actors, 1 killed")


if __name__ == "__main__":
    main()
