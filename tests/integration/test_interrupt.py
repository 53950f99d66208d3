"""Ctrl-C at any moment of a live run on real sockets."""

import json
import random
import sys
from functools import partial
from pathlib import Path

import trio

from streamnursery.simulator import Profile, Provider, serve_loopback
from tests.support.cli import ROOT, empty_world

ROUNDS = {"test": 8, "proof": 40, "soak": 200}
LONGEST = 2.0
"""Seconds from the signal to the end of the run; it takes a few hundredths."""


async def test_x5_ctrl_c_at_random_moments_ends_the_run_and_leaves_nothing(
    tier: str, tmp_path: Path
) -> None:
    paced = Profile(ttft_mean=0.002, ttft_p95=0.002, tokens_per_second=2000)
    provider = Provider(dice=random.Random(1), models={"m": paced})
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        words = ("-W", "error", "-m", "tests.support.interrupted", server.url)
        child = partial(
            trio.run_process,
            [sys.executable, *words, str(ROUNDS[tier]), "5"],
            capture_stdout=True,
            capture_stderr=True,
            env=empty_world(tmp_path),
            cwd=ROOT,
            check=False,
        )
        with trio.fail_after(300):
            done = await child()
        await server.stop()
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ends) == ROUNDS[tier]
    for end in ends:
        assert end["raised"] == ["KeyboardInterrupt"], end
        assert end["seconds"] < LONGEST, end
        assert end["left"] == [0, 0, 0, 0], end
        assert end["buffered"] == 0, end
    assert len({end["files"] for end in ends[1:]}) == 1  # the first round imports the rest
