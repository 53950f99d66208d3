"""A process with an engine and a ledger, to be killed: `ledger_child.py URL LEDGER BUDGET SEED`.

Says "ready" when its engine is open, then asks: as many output tokens as the number of the request.
Says how each of them ended, in a line.
"""

import random
import sys

import trio

from streamnursery import EngineError, open_engine

MAX_STREAMS = 8
REQUESTS = 40


async def main(url: str, ledger: str, budget: str, seed: int) -> None:
    config = {
        "endpoints": {"main": {"url": url}},
        "models": {
            "m": {
                "routes": [{"endpoint": "main"}],
                "price": {"input": "0", "output": "1000"},
                "max_streams": MAX_STREAMS,
                "retries": {"attempts": 2, "base": 0.005},
            }
        },
        "budgets": {"daily": budget, "ledger": ledger},
    }
    async with open_engine(config, seed=seed) as engine:

        async def ask(tokens: int) -> None:
            try:
                await engine.complete("m", "Hi", max_tokens=tokens)
            except EngineError as error:
                say(type(error).__name__)
            else:
                say("complete")

        say("ready")
        numbers = list(range(1, REQUESTS + 1))
        random.Random(seed).shuffle(numbers)
        async with trio.open_nursery() as nursery:
            for number in numbers:
                nursery.start_soon(ask, number)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
