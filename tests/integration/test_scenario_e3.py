"""E3 on a real socket: events behind the end mark are ignored, and cost their connection."""

import pytest
import trio

from streamnursery import open_engine
from tests.support.servers import RawServer
from tests.support.transport import CHUNKED_HEAD, LAST_CHUNK, ServerEnd, chunk

HEAD = CHUNKED_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-type: text/event-stream\r\n\r\n", 1)
TEXT = (
    b'data: {"choices": [{"index": 0, "delta": {"content": "all"}, "finish_reason": "stop"}]}\n\n'
)
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(("behind", "connections"), [(b"", 1), (TEXT, 2), (TEXT + DONE, 2)])
@pytest.mark.parametrize("apart", [False, True])
async def test_e3_events_behind_the_end_mark_cost_the_connection(
    behind: bytes, connections: int, apart: bool
) -> None:
    async def handler(end: ServerEnd) -> None:
        while await end.read_request():
            if apart and behind:
                await end.send(HEAD + chunk(TEXT + DONE))
                await end.send(chunk(behind) + LAST_CHUNK)
            else:
                await end.send(HEAD + chunk(TEXT + DONE + behind) + LAST_CHUNK)

    server = RawServer(handler)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        config = {"endpoints": {"main": {"url": f"http://127.0.0.1:{server.port}/v1"}}}
        async with open_engine(config) as eng:
            for _ in range(2):
                completion = await eng.complete("m", "hi")
                assert completion.text == "all"
        nursery.cancel_scope.cancel()
    assert server.connections == connections
