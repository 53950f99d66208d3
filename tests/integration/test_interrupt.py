"""Ctrl-C at any moment of a live run on real sockets."""

import json
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import trio

from streamnursery.simulator import Profile, Provider, serve_loopback
from tests.support.cli import ROOT, empty_world
from tests.support.guard import GUARD

ROUNDS = {"test": 8, "proof": 40, "soak": 200}


async def test_x5_ctrl_c_at_random_moments_ends_the_run_and_leaves_nothing(
    tier: str, tmp_path: Path
) -> None:
    """That it ends at once is a matter of virtual time: `simulation/test_interrupt_time.py`."""
    paced = Profile(ttft_mean=0.002, ttft_p95=0.002, tokens_per_second=2000)
    provider = Provider(dice=random.Random(1), models={"m": paced})
    errors, told = tmp_path / "stderr", b""
    with errors.open("wb") as stderr:
        async with trio.open_nursery() as nursery:
            server = await serve_loopback(provider, nursery=nursery)
            words = ("-W", "error", "-m", "tests.support.interrupted", server.url)
            child = partial(
                trio.run_process,
                [sys.executable, *words, str(ROUNDS[tier]), "5"],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=empty_world(tmp_path),
                cwd=ROOT,
                check=False,
            )
            process: trio.Process = await nursery.start(child)
            assert process.stdout is not None
            while True:
                with trio.fail_after(GUARD):  # a round
                    piece = await process.stdout.receive_some()
                if not piece:
                    break
                told += piece
            await process.wait()
            await server.stop()
    assert (process.returncode, errors.read_text()) == (0, "")
    ends = [json.loads(line) for line in told.splitlines()]
    assert len(ends) == ROUNDS[tier]
    for end in ends:
        assert end["raised"] == ["KeyboardInterrupt"], end
        assert end["left"] == [], end
    assert len({end["files"] for end in ends[1:]}) == 1  # the first round imports the rest
