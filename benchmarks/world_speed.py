"""How fast a simulated world is: full-stack streams per second of CPU, and where the time goes.

    python -m benchmarks.world_speed [--streams 300] [--tokens 40] [--rounds 5] [--layers | --json]

Tokens come each by itself at a model's pace, as most providers send them: one read, one batch and
one wake-up of the consumer for each; the same with all that are due within a millisecond sent
together; all at once; and as in the traffic of the tests, with faults and cancels, where not every
stream has 40 tokens. The best of the rounds counts: other load on the machine only slows.
`--layers` profiles one more round; the profiler makes small functions look dearer than they are.
"""

import argparse
import cProfile
import json
import pstats
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import trio

from streamnursery import Engine
from streamnursery.testing import World, random_traffic

SITE = "site-packages/"


Main = Callable[[World], Awaitable[None]]


def clean(model: str, streams: int, tokens: int) -> Main:
    """`streams` answers of `tokens` tokens each, all at the same time."""

    async def main(world: World) -> None:
        config = world.config(default_max_streams=streams, max_streams=streams)
        async with world.open_engine(config) as eng, trio.open_nursery() as nursery:
            for number in range(streams):
                nursery.start_soon(consume, eng, model, f"Question {number}", tokens)

    return main


async def consume(eng: Engine, model: str, prompt: str, tokens: int) -> None:
    async with eng.stream(model, prompt, max_tokens=tokens) as stream:
        async for _ in stream:
            pass


def faulty(streams: int) -> Main:
    async def main(world: World) -> None:
        await random_traffic(Random(world.seed), streams).run(world)

    return main


def measure(main: Main, rounds: int, tick: float) -> float:
    """CPU seconds of the fastest of `rounds` equal worlds."""
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        World(0, tick=tick).run(main)
        best = min(best, time.process_time() - started)
    return best


def yardstick() -> float:
    """Millions of turns of an empty loop per CPU second: how fast the machine is just now."""
    started = time.process_time()
    for _ in range(3_000_000):
        pass
    return 3 / (time.process_time() - started)


def layers(main: Main) -> Counter[str]:
    """CPU seconds by layer, as a profiler sees them."""
    profile = cProfile.Profile()
    profile.runcall(World(0).run, main)
    spent: Counter[str] = Counter()
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(profile).stats.items():
        spent[layer_of(file, function)] += own
    return spent


def layer_of(file: str, function: str) -> str:
    if "/streamnursery/" in file:
        return "streamnursery." + file.rpartition("/streamnursery/")[2].split("/")[0].removesuffix(
            ".py"
        )
    if SITE in file:
        return file.partition(SITE)[2].split("/")[0]
    if file == "~" and "epoll" in function:
        return "trio"
    return "built-in functions" if file == "~" else f"stdlib {Path(file).stem}"


def main() -> None:
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--json", action="store_true", help="for programs; without layers")
    options = parser.parse_args()
    paced = clean("gpt-4.1", options.streams, options.tokens)
    ways = {
        "a read per token": (paced, 0.0),
        "paced, in ticks of 1 ms": (paced, 0.001),
        "all at once": (clean("fast", options.streams, options.tokens), 0.0),
        "with faults": (faulty(options.streams), 0.0),
    }
    if options.json:
        speeds = {n: options.streams / measure(w, options.rounds, t) for n, (w, t) in ways.items()}
        print(json.dumps({"yardstick": yardstick(), "streams_per_cpu_second": speeds}, indent=1))
        return
    print(f"{yardstick():.0f} million turns of an empty loop per CPU second")
    for name, (way, tick) in ways.items():
        seconds = measure(way, options.rounds, tick)
        print(f"{name:25} {options.streams / seconds:6.0f} streams per CPU second")
        if options.layers:
            spent = layers(way)
            for layer, own in spent.most_common(12):
                print(f"    {own / spent.total():5.1%}  {layer}")


if __name__ == "__main__":
    main()
