"""Protocols of one's own in a world."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.simulator import Link
from streamnursery.testing import World
from streamnursery.testing.byte_streams import WorldStream


async def count(stream: WorldStream) -> None:
    """A server that says the numbers from 0 to 99 in lines, and half-closes."""
    for number in range(100):
        await stream.send_all(b"%d\n" % number)
        await trio.sleep(1)
    await stream.send_eof()


async def read_all(world: World, **options: object) -> bytes:
    data = b""
    async with await world.connect(count, **options) as stream:  # type: ignore[arg-type]
        async for part in stream:
            data += part
    return data


WHOLE = b"".join(b"%d\n" % number for number in range(100))


def test_a_server_of_ones_own_is_read_to_its_end_in_virtual_time() -> None:
    async def main(world: World) -> None:
        assert await read_all(world, link=Link(latency=0.25, segment_size=3)) == WHOLE
        assert trio.current_time() >= 99

    World(3).run(main)


@given(cut=st.integers(0, len(WHOLE)))
def test_a_cut_comes_after_exactly_so_many_bytes(cut: int) -> None:
    assert World(0).run(lambda world: read_all(world, cut=cut)) == WHOLE[:cut]


def test_a_reset_is_a_broken_stream() -> None:
    with pytest.raises(trio.BrokenResourceError):
        World(0).run(lambda world: read_all(world, cut=5, how="reset"))


def test_the_server_is_told_too_that_the_client_has_gone() -> None:
    async def main(world: World) -> None:
        stream = await world.connect(count)
        assert await stream.receive_some(1) == b"0"
        await stream.aclose()
        await trio.sleep(200)  # the server's next sends break, and that is no failure of the world

    World(0).run(main)


def test_a_stream_that_is_left_open_is_found() -> None:
    async def main(world: World) -> None:
        await world.connect(count)

    with pytest.raises(AssertionError, match="1 connections were left open"):
        World(0).run(main)


@pytest.mark.parametrize("options", [{"cut": -1}, {"cut": 3, "how": "slowly"}])
def test_a_wrong_option_is_named(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"cut is a number|how is"):
        World(0).run(lambda world: read_all(world, **options))
