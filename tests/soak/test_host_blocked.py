"""A host that stands still for longer than a provider's clock: real seconds, and so in soak alone.

The same law holds in virtual time in tests/integration/test_bridge_ends.py and in the outbox's
machine; here the loop, the socket and the clock are real.
"""

import asyncio
import threading
import time

import pytest

from streamnursery import aio, sync
from streamnursery.simulator import Profile
from streamnursery.testing.live import live_provider

TOKENS, RATE = 400, 50
BLOCKED, IDLE = 5.0, 2.0
"""Seconds."""
PACED = Profile(tokens_per_second=RATE, output_tokens=(TOKENS, TOKENS))


@pytest.fixture(autouse=True)
def _in_soak_alone(tier: str) -> None:
    if tier != "soak":
        pytest.skip("takes real seconds: in soak")


def config(provider: object) -> dict[str, object]:
    settings = provider.config()  # type: ignore[attr-defined]
    return {**settings, "defaults": {"patience": {"idle": IDLE}}}


def test_a_loop_that_is_blocked_blames_no_provider() -> None:
    with live_provider(models={"m": PACED}, factor=1.0) as provider:

        async def main() -> int:
            async with aio.open_engine(config(provider)) as eng:

                async def read() -> int:
                    async with eng.stream("m", "hello") as stream:
                        return sum([1 async for _ in stream.text()])

                readers = [asyncio.create_task(read()) for _ in range(20)]
                await asyncio.sleep(1)
                time.sleep(BLOCKED)  # noqa: ASYNC251 - the host stands still
                return sum(await asyncio.gather(*readers))

        assert asyncio.run(main()) == 20 * TOKENS


def test_a_thread_that_does_not_read_blames_no_provider() -> None:
    with live_provider(models={"m": PACED}, factor=1.0) as provider:
        with sync.open_engine(config(provider)) as eng:
            counts: list[int] = []

            def read() -> None:
                with eng.stream("m", "hello") as stream:
                    texts = iter(stream.text())
                    next(texts)
                    time.sleep(BLOCKED)
                    counts.append(1 + sum(1 for _ in texts))

            threads = [threading.Thread(target=read) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert counts == [TOKENS] * 20
