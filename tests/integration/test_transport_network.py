"""The real network: what a socket does, said as a `Connection`."""

import socket
import struct

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery.testing import no_files_left_open
from streamnursery.transport.network import SocketConnection, TrioNetwork, without_frames


async def pair() -> tuple[SocketConnection, socket.socket]:
    """A connection of ours and the plain socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = await TrioNetwork().connect(("127.0.0.1", listener.getsockname()[1]))
        assert isinstance(connection, SocketConnection)
        return connection, listener.accept()[0]


async def test_nothing_bytes_and_fin_are_told_apart() -> None:
    connection, other = await pair()
    with other:
        with pytest.raises(trio.WouldBlock):
            connection.recv_nowait(10)
        other.sendall(b"abc")
        await connection.wait_readable()
        assert connection.recv_nowait(2) == b"ab"
        assert connection.recv_nowait(10) == b"c"
    await connection.wait_readable()
    assert connection.recv_nowait(10) == b""
    connection.close()


async def test_a_reset_is_no_fin() -> None:
    connection, other = await pair()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other.close()
    await connection.wait_readable()
    with pytest.raises(ConnectionResetError):
        connection.recv_nowait(10)
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        await connection.send_all(b"x")
    connection.close()


async def test_a_large_message_waits_for_room_and_arrives_whole() -> None:
    connection, other = await pair()
    other.setblocking(False)
    got = bytearray()

    async def read() -> None:
        while len(got) < 20_000_000:
            await trio.lowlevel.wait_readable(other)
            got.extend(other.recv(1 << 20))

    with other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await connection.send_all(memoryview(b"x" * 20_000_000))
    assert len(got) == 20_000_000
    connection.close()


@pytest.mark.parametrize("what", ["wait_readable", "send_all"])
async def test_closing_wakes_who_waits(what: str) -> None:
    connection, other = await pair()

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            if what == "wait_readable":
                await connection.wait_readable()
            else:
                await connection.send_all(b"x" * 50_000_000)

    with other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            connection.close()


async def test_a_closed_connection_does_nothing_more() -> None:
    connection, other = await pair()
    with other:
        connection.close()
        connection.close()
        assert connection.fileno() is None
        with pytest.raises(trio.ClosedResourceError):
            connection.recv_nowait(1)
        with pytest.raises(trio.ClosedResourceError):
            await connection.wait_readable()
        with pytest.raises(trio.ClosedResourceError):
            await connection.send_all(b"x")


async def test_a_failed_or_cancelled_connect_leaves_no_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with no_files_left_open():
        with pytest.raises(OSError, match="refused"):
            await TrioNetwork().connect(("127.0.0.1", port))
        with trio.CancelScope() as scope:
            scope.cancel()
            await TrioNetwork().connect(("127.0.0.1", port))
        assert scope.cancelled_caught


async def test_a_socket_sends_at_once_and_asks_whether_its_peer_lives() -> None:
    connection, other = await pair()
    with other:
        number = connection.fileno()
        assert number is not None
        with socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    connection.close()


async def test_names_become_numeric_addresses_without_repetition() -> None:
    network = TrioNetwork()
    assert list(await network.resolve("127.0.0.1", 80)) == [("127.0.0.1", 80)]
    assert list(await network.resolve("::1", 443)) == [("::1", 443)]
    found = list(await network.resolve("localhost", 80))
    assert ("127.0.0.1", 80) in found and len(set(found)) == len(found)


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..b", "\u2100.test"])
async def test_what_is_no_name_is_an_os_error(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        await TrioNetwork().resolve(host, 80)


def test_a_cause_without_frames_keeps_its_chain_and_loses_its_locals() -> None:
    error: BaseException
    try:
        try:
            raise BlockingIOError("first")
        except BlockingIOError as first:
            raise ConnectionResetError("second") from first
    except ConnectionResetError as second:
        error = second
    assert error.__traceback__ is not None
    assert without_frames(error) is error
    assert error.__traceback__ is None
    assert error.__cause__ is not None and error.__cause__.__traceback__ is None
