"""Ctrl-C on virtual time: from the signal to the end of the run, no time passes."""

import os
import signal
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from streamnursery import Engine
from tests.support.interrupted import WORK, leaves
from tests.support.scene import scene


@pytest.fixture(scope="module", autouse=True)
def sigint_raises() -> Iterator[None]:
    """As in a program; a shell's background job begins with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@given(moment=st.floats(0, 5), work=st.sampled_from(WORK), dice=st.random_module())
def test_x5_ctrl_c_ends_a_run_in_the_moment_in_which_it_comes(
    moment: float, work: Callable[[Engine], Awaitable[None]], dice: object
) -> None:
    """The answers under way take two seconds each, and others wait for their slots."""
    clock = MockClock(autojump_threshold=0)

    async def strike() -> None:
        await trio.sleep(moment)
        os.kill(os.getpid(), signal.SIGINT)

    async def main() -> None:
        async with scene(model={"max_streams": 10}) as s:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(strike)
                await work(s.engine)

    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)) as caught:
        trio.run(main, clock=clock)
    assert set(leaves(caught.value)) == {"KeyboardInterrupt"}
    assert clock.current_time() == moment
