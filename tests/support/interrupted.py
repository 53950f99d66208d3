"""A program that Ctrl-C ends: `python -m tests.support.interrupted URL ROUNDS SEED`.

Each round keeps an engine busy until SIGINT strikes after a random number of task steps, and prints
as one JSON line what came out of the run and what was left of it.
"""

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import trio

from streamnursery import ChatRequest, Engine, open_engine
from streamnursery.testing.quiescence import remains

CROWD = 20
LATEST = 500
"""Task steps from the first request to the signal, at most."""


def endless() -> Iterator[ChatRequest]:
    while True:
        yield ChatRequest("m", [{"role": "user", "content": "hello"}])


async def read_for_ever(eng: Engine) -> None:
    for request in endless():
        async with eng.stream(request) as stream:
            async for _ in stream:
                pass


async def crowd(eng: Engine) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(CROWD):
            nursery.start_soon(read_for_ever, eng)


async def bulk(eng: Engine) -> None:
    async with eng.as_completed(endless(), max_in_flight=CROWD // 2) as outcomes:
        async for _ in outcomes:
            pass


async def calls(eng: Engine) -> None:
    while True:
        await eng.run("m", eng.complete, "m", "hello")


WORK = (crowd, bulk, calls)


def leaves(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [name for inner in error.exceptions for name in leaves(inner)]
    return [type(error).__name__]


class Strike(trio.abc.Instrument):
    """SIGINT after so many task steps, from a thread of its own: it can meet any instruction."""

    def __init__(self, steps: int) -> None:
        self._left = steps
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._strike)
        self._thread.start()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._due.set()

    def _strike(self) -> None:
        self._due.wait()
        os.kill(os.getpid(), signal.SIGINT)

    def join(self) -> None:
        self._thread.join()


def strike_one(url: str, dice: random.Random) -> dict[str, Any]:
    work = dice.choice(WORK)
    settings = {
        "endpoints": {"main": {"url": url}},
        "models": {"m": {"routes": [{"endpoint": "main"}], "max_streams": 10}},
    }
    strike = Strike(dice.randint(1, LATEST))
    left: list[str] = []

    async def main() -> None:
        try:
            async with open_engine(settings) as eng:
                trio.lowlevel.add_instrument(strike)
                await work(eng)
        finally:
            left.extend(remains(eng, closed=True))

    raised: list[str] = []
    try:
        trio.run(main)
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        raised = leaves(error)
    strike.join()
    return {
        "work": work.__name__,
        "raised": sorted(set(raised)),
        "left": left,
        "files": len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0,
    }


if __name__ == "__main__":
    # A shell's background job begins with SIGINT ignored, and so would this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    address, rounds, seed = sys.argv[1:]
    for number in range(int(rounds)):
        print(json.dumps(strike_one(address, random.Random(int(seed) + number))), flush=True)
