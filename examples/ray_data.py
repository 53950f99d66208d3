"""Ray Data: answers for a dataset, by two actors with an engine each.

    pip install streamnursery "ray[data]"
    python examples/ray_data.py

Each block of rows is a call of an actor on its own event loop; the engine runs beside that loop, in
a thread (`streamnursery.aio`). Ray gives the blocks of an actor that dies to another one, so every
row is in the result once; what the dead one had paid for is paid again. Where that matters, write
with `streamnursery batch --shard i/n` on each machine instead: its output is a journal.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import ray

import streamnursery.aio as sn

ROWS = int(os.environ.get("ROWS", "10000"))
MODEL = "sim/fast"


class Answers:
    """An actor: opens its engine at the first block."""

    def __init__(self) -> None:
        self._block: Any = None
        self._engine: Any = None
        self._opening = asyncio.Lock()

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        async with self._opening:
            if self._engine is None:
                self._block = sn.open_engine()
                self._engine = await self._block.__aenter__()
        requests = [
            sn.ChatRequest(MODEL, [{"role": "user", "content": f"Fact {n}"}], max_tokens=3)
            for n in batch["id"]
        ]
        outcomes = await self._engine.settle(requests)
        yield {
            "id": batch["id"],
            "text": [one.completion.text if one.completion else "" for one in outcomes],
            "error": [str(one.error or "") for one in outcomes],
        }


def main() -> None:
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    dataset = ray.data.range(ROWS, override_num_blocks=100).map_batches(
        Answers, concurrency=2, batch_size=100, max_concurrency=4
    )
    answers = dataset.take_all()
    assert sorted(row["id"] for row in answers) == list(range(ROWS))
    failed = sum(bool(row["error"]) for row in answers)
    print(f"{len(answers)} rows, each once; {failed} failed")


if __name__ == "__main__":
    main()
