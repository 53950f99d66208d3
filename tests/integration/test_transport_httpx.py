"""httpx.AsyncClient on trio over this transport: what its users rely on."""

import json
from collections.abc import AsyncIterator

import httpx
import httpx2
import pytest
import trio

from streamnursery.transport.http import StreamNurseryTransport, open_transport
from streamnursery.values.errors import ConnectError, EngineClosedError, EngineError, RequestError
from tests.support.guard import until
from tests.support.servers import RawServer, serving
from tests.support.transport import (
    CHUNKED_HEAD,
    LAST_CHUNK,
    OK_HELLO,
    Handler,
    ServerEnd,
    answer_hello,
    chunk,
)


class Rig:
    def __init__(
        self, server: RawServer, transport: StreamNurseryTransport, client: httpx.AsyncClient
    ) -> None:
        self.server = server
        self.transport = transport
        self.client = client


async def echo(end: ServerEnd) -> None:
    while (request := await end.read_request()) is not None:
        head, _, body = request.partition(b"\r\n\r\n")
        answer = json.dumps({"head": head.decode("latin-1"), "body": body.decode()}).encode()
        await end.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)


@pytest.fixture
def handler() -> Handler:
    return echo


@pytest.fixture
async def rig(handler: Handler) -> AsyncIterator[Rig]:
    async with serving(handler) as server, open_transport() as transport:
        url = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(transport=transport, base_url=url) as client:
            yield Rig(server, transport, client)


async def test_get_sends_path_query_and_headers(rig: Rig) -> None:
    answer = (await rig.client.get("/a%20b", params={"q": "ä"}, headers={"x-a": "1"})).json()
    head = answer["head"].split("\r\n")
    assert head[0] == "GET /a%20b?q=%C3%A4 HTTP/1.1"
    assert f"host: 127.0.0.1:{rig.server.port}" in head
    assert "x-a: 1" in head and "accept-encoding: identity" in head
    assert len([line for line in head if line.lower().startswith("host:")]) == 1


async def test_post_sends_the_body_with_its_length(rig: Rig) -> None:
    answer = (await rig.client.post("/", json={"a": 1})).json()
    assert json.loads(answer["body"]) == {"a": 1}
    assert "content-length: 7" in answer["head"]
    assert "transfer-encoding" not in answer["head"].lower()


async def test_a_body_made_of_pieces_is_sent_with_its_length(rig: Rig) -> None:
    class Pieces(httpx.AsyncByteStream):
        def __init__(self) -> None:
            self._left = [b"one", b"two"]

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            if not self._left:
                raise StopAsyncIteration
            return self._left.pop(0)

    answer = (await rig.client.post("/", content=Pieces())).json()
    assert answer["body"] == "onetwo"
    assert "content-length: 6" in answer["head"]


async def test_many_at_once_and_one_after_another_share_connections(rig: Rig) -> None:
    async def ask(i: int) -> None:
        assert (await rig.client.post("/", content=str(i))).json()["body"] == str(i)

    for _ in range(3):
        async with trio.open_nursery() as nursery:
            for i in range(50):
                nursery.start_soon(ask, i)
    assert rig.server.connections == 50
    assert rig.transport.statistics().busy == 0


async def test_head_and_no_content_have_no_body(rig: Rig) -> None:
    response = await rig.client.head("/")
    assert response.status_code == 200 and response.content == b""


async def tell_tokens(end: ServerEnd) -> None:
    while await end.read_request():
        await end.send(CHUNKED_HEAD)
        for i in range(10):
            await end.send(chunk(b"data: %d\n\n" % i))
            await trio.lowlevel.checkpoint()
        await end.send(LAST_CHUNK)


# httpx iterates through generators of its own, which a `break` leaves to the collector.
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
@pytest.mark.parametrize("handler", [tell_tokens])
async def test_a_stream_can_be_iterated_and_left_and_the_client_goes_on(rig: Rig) -> None:
    for leave_after in (100, 3, 0):
        async with rig.client.stream("POST", "/") as response:
            lines = 0
            async for line in response.aiter_lines():
                lines += line.startswith("data:")
                if lines > leave_after:
                    break
            assert lines == min(10, leave_after + 1)
    assert (await rig.client.post("/")).text.startswith("data: 0")
    assert rig.transport.statistics().busy == 0


async def stall(end: ServerEnd) -> None:
    await end.read_request()
    if len(end.requests[0]) % 2:
        await end.send(CHUNKED_HEAD + chunk(b"some"))
    await trio.sleep_forever()


async def cancel_one(rig: Rig, path: str, rounds: int) -> None:
    """So many rounds of the scheduler after the server has it."""
    before = len(rig.server.requests)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.client.get, path)
        await until(lambda: len(rig.server.requests) > before)
        for _ in range(rounds):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("handler", [stall])
@pytest.mark.parametrize("path", ["/", "/x"])
async def test_a_cancelled_request_leaves_nothing_and_the_client_goes_on(
    rig: Rig, path: str
) -> None:
    for rounds in range(5):
        await cancel_one(rig, path, rounds)
        statistics = rig.transport.statistics()
        assert (statistics.busy, statistics.idle) == (0, 0)


# Errors. ------------------------------------------------------------------------------------


def says(data: bytes) -> Handler:
    async def serve(end: ServerEnd) -> None:
        await end.read_request()
        await end.send(data)

    return serve


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (says(b""), httpx.ReadError),
        (says(OK_HELLO[:-1]), httpx.ReadError),
        (says(b"nonsense\r\n\r\n"), httpx.RemoteProtocolError),
        (says(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"), httpx.RemoteProtocolError),
        (says(CHUNKED_HEAD + b"zz\r\n"), httpx.RemoteProtocolError),
    ],
)
async def test_a_broken_answer_is_httpx_error_with_ours_as_its_cause(
    rig: Rig, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        await rig.client.get("/")
    assert isinstance(caught.value.__cause__, EngineError)
    assert rig.transport.statistics().busy == 0


async def test_a_refused_connection_is_httpx_error_with_ours_as_its_cause(rig: Rig) -> None:
    with pytest.raises(httpx.ConnectError) as caught:
        await rig.client.get("http://127.0.0.1:1/")
    assert isinstance(caught.value.__cause__, ConnectError)


@pytest.mark.parametrize(
    "headers", [{"te": "trailers"}, {"x y": "z"}, {"x": "a\r\nb: c"}, {"host": "evil.test"}]
)
async def test_t9_a_header_that_cannot_be_sent_is_httpx_error(
    rig: Rig, headers: dict[str, str]
) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        await rig.client.get("/", headers=headers)
    assert rig.server.connections == 0


@pytest.mark.parametrize("url", ["ftp://api.test/", "ws://api.test/"])
async def test_another_scheme_is_httpx_error(rig: Rig, url: str) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        await rig.client.get(url)


async def test_a_redirect_is_an_answer_for_httpx_to_follow_or_not() -> None:
    async def serve(end: ServerEnd) -> None:
        while request := await end.read_request():
            if request.startswith(b"GET /new "):
                await end.send(OK_HELLO)
            else:
                await end.send(b"HTTP/1.1 307 Moved\r\nlocation: /new\r\ncontent-length: 0\r\n\r\n")

    async with serving(serve) as server, open_transport() as transport:
        async with httpx.AsyncClient(transport=transport) as client:
            url = f"http://127.0.0.1:{server.port}/old"
            assert (await client.get(url)).status_code == 307
            assert (await client.get(url, follow_redirects=True)).text == "hello"
            assert server.connections == 1


# The block. ---------------------------------------------------------------------------------


async def test_outside_its_block_the_transport_says_where_it_works() -> None:
    async with serving(answer_hello) as server:
        async with open_transport() as transport:
            pass
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(EngineClosedError, match=r"open_transport\(\)"):
                await client.get(f"http://127.0.0.1:{server.port}/")
        assert server.connections == 0


async def test_one_transport_serves_client_after_client() -> None:
    async with serving(answer_hello) as server, open_transport() as transport:
        for _ in range(3):
            async with httpx.AsyncClient(transport=transport) as client:
                assert (await client.get(f"http://127.0.0.1:{server.port}/")).text == "hello"
            assert transport.statistics().idle == 0


async def test_an_error_of_the_caller_leaves_the_block_bare() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_transport():
            raise ZeroDivisionError


def test_outside_trio_it_names_trio_run() -> None:
    with pytest.raises(RequestError, match=r"trio\.run"):
        open_transport().__aenter__().send(None)


async def test_a_client_of_httpx2_is_served_in_its_own_classes() -> None:
    async with serving(echo) as server, open_transport() as transport:
        url = f"http://127.0.0.1:{server.port}"
        client = httpx2.AsyncClient(transport=transport, base_url=url)  # type: ignore[arg-type]
        async with client:
            answer = await client.post("/a", content=b"hello")
            assert type(answer) is httpx2.Response
            assert answer.json()["body"] == "hello"
            async with client.stream("GET", "/b") as streamed:
                assert b'"head"' in b"".join([part async for part in streamed.aiter_bytes()])
            with pytest.raises(httpx2.UnsupportedProtocol):
                await client.get("ftp://127.0.0.1/")
            with pytest.raises(httpx2.LocalProtocolError):
                await client.get("/", headers={"host": "elsewhere"})
        async with httpx.AsyncClient(transport=transport, base_url=url) as other:
            assert type(await other.get("/")) is httpx.Response


async def test_a_request_of_another_library_is_refused() -> None:
    async with open_transport() as transport:
        with pytest.raises(RequestError, match="clients of httpx and httpx2"):
            await transport.handle_async_request(object())  # type: ignore[arg-type]
