"""As tests/simulation/test_checkpoints.py, for what needs a socket of this machine or a process."""

import pytest
import trio
from trio.testing import assert_checkpoints

from tests.support.checkpoints import CallCase
from tests.support.checkpoints.loopback import TABLE

each_call = pytest.mark.parametrize("case", TABLE.calls, ids=str)


@each_call
async def test_it_is_a_cancel_and_a_schedule_point(case: CallCase) -> None:
    async with case.ready() as call:
        with assert_checkpoints():
            if case.raises is None:
                await call()
            else:
                with pytest.raises(case.raises):
                    await call()


@each_call
async def test_cancelled_before_it_is_made_it_ends_there(case: CallCase) -> None:
    async with case.ready() as call:
        with trio.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught
