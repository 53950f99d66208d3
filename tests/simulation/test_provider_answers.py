"""What a simulated provider answers when nothing goes wrong on its side."""

import json

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from streamnursery.simulator import CallTool, Link, Reasoning, Refuse, Respond
from streamnursery.simulator.exchange import EPOCH
from streamnursery.simulator.pipe import PipeConnection
from streamnursery.values.secret import Secret
from tests.support.simulator import (
    PROMPT,
    Answer,
    chat,
    http,
    open_site,
    parse,
    read_to_end,
    read_until,
    script_header,
    talk,
)


async def test_a_stream_has_a_role_the_words_a_finish_and_an_end_mark(
    autojump_clock: MockClock,
) -> None:
    async with open_site() as site:
        answer = await site.ask(chat())
        record = site.provider.log[0]
        assert answer.status == 200 and answer.whole and answer.done
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert answer.said() == site.provider.expected_text(chat()) == record.intended()
        assert answer.finishes == ["stop"]
        assert answer.usage is None
        assert {chunk["id"] for chunk in answer.chunks} == {"chatcmpl-sim-1"}
        assert {chunk["created"] for chunk in answer.chunks} == {EPOCH}
        assert (record.ending, record.sent_tokens, record.sent()) == ("complete", 5, answer.said())
        assert record.sent_bytes == len(answer.raw)
        assert answer.headers["x-request-id"] == record.id == "req-sim-1"


async def test_usage_comes_in_a_chunk_of_its_own_when_asked_for(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        answer = await site.ask(chat(stream_options={"include_usage": True}, n=2))
        assert answer.chunks[-1]["choices"] == []
        assert all(chunk["usage"] is None for chunk in answer.chunks[:-1])
        assert answer.usage == {
            "prompt_tokens": 8,
            "completion_tokens": 10,
            "total_tokens": 18,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }


async def test_an_answer_that_is_not_streamed_says_the_same(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        streamed = await site.ask(chat(n=2))
        answer = await site.ask(chat(stream=False, n=2))
        body = json.loads(answer.body)
        assert answer.headers["content-type"] == "application/json"
        assert [choice["message"]["content"] for choice in body["choices"]] == [
            streamed.said(choice=0),
            streamed.said(choice=1),
        ]
        assert body["usage"]["completion_tokens"] == 10
        assert body["choices"][0]["finish_reason"] == "stop"
        assert site.provider.log[1].sent(1) == streamed.said(choice=1)


async def test_tools_reasoning_and_refusals_are_streamed_and_not(autojump_clock: MockClock) -> None:
    tool = CallTool("weather", '{"city":"Oslo"}', 6)
    async with open_site() as site:
        for stream in (True, False):
            called = await site.ask(
                chat(stream=stream), script_header([{"call_tool": {"function": "w"}}])
            )
            assert b'"tool_calls"' in called.body
        streamed = await site.ask(chat("sim/fast?call_tool=weather,null,6&reasoning=2,reasoning"))
        assert len(streamed.said("reasoning").split()) == 2
        deltas = [chunk["choices"][0]["delta"] for chunk in streamed.chunks]
        fragments = [
            d["tool_calls"][0]["function"]["arguments"] for d in deltas if "tool_calls" in d
        ]
        assert "".join(fragments) == "{}"
        assert streamed.finishes == ["tool_calls"]
    async with open_site(tool, Reasoning(3)) as site:
        body = json.loads((await site.ask(chat(stream=False))).body)
        message = body["choices"][0]["message"]
        assert message["tool_calls"][0]["function"] == {
            "name": "weather",
            "arguments": '{"city":"Oslo"}',
        }
        assert message["content"] is None
        assert len(message["reasoning_content"].split()) == 3
        assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3
    async with open_site(Refuse(), Respond(text="No way")) as site:
        assert (await site.ask(chat())).said("refusal") == "No way"
        body = json.loads((await site.ask(chat(stream=False))).body)
        assert body["choices"][0]["message"]["refusal"] == "No way"


async def test_models_can_be_listed_and_looked_up(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        listed = await site.ask(None, method="GET", target="/v1/models?limit=9")
        ids = [model["id"] for model in json.loads(listed.body)["data"]]
        assert ids == ["sim/fast", "steady", "gpt-4.1"]
        for name in ("gpt-4.1", "sim/fast", "sim%2Ffast"):
            found = await site.ask(None, method="GET", target=f"/v1/models/{name}")
            assert (found.status, json.loads(found.body)["object"]) == (200, "model")
        assert (await site.ask(None, method="GET", target="/v1/models/x")).status == 404


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"[" * 100_000, 400, None),
        (b"[]", 400, None),
        (b"\xff", 400, None),
        ({"messages": PROMPT}, 400, "model"),
        ({"model": 3, "messages": PROMPT}, 400, "model"),
        ({"model": "none", "messages": PROMPT}, 404, "model"),
        ({"model": "fast?cutt=1", "messages": PROMPT}, 400, "model"),
        ({"model": "fast"}, 400, "messages"),
        ({"model": "fast", "messages": "hi"}, 400, "messages"),
        ({"model": "fast", "messages": [{"content": "x"}]}, 400, "messages[0].role"),
        (chat(n=0), 400, "n"),
        (chat(n=129), 400, "n"),
        (chat(max_tokens=-1), 400, "max_tokens"),
        (chat(max_tokens=True), 400, "max_tokens"),
        (chat(max_tokens="9"), 400, "max_tokens"),
        (chat(seed=1.5), 400, "seed"),
        (chat(stop=[""]), 400, "stop"),
        (chat(stop=3), 400, "stop"),
        (chat(tools={"a": 1}), 400, "tools"),
        (chat(stream="yes"), 400, "stream"),
        (chat(stream_options=[1]), 400, "stream_options"),
    ],
)
async def test_a_bad_request_is_told_what_is_bad(
    autojump_clock: MockClock, body: object, status: int, param: str | None
) -> None:
    async with open_site() as site:
        answer = await site.ask(body)
        assert answer.status == status and answer.whole
        assert answer.error["param"] == param
        assert answer.error["type"] == "invalid_request_error"
        assert answer.error["message"]
        assert site.provider.log[0].ending == "bad request"
        assert site.provider.log[0].status == status


@pytest.mark.parametrize(
    ("method", "target", "status", "allow"),
    [
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("DELETE", "/v1/models", 405, "GET"),
        ("POST", "/v1/images", 404, None),
        ("GET", "/v1/embeddings", 405, "POST"),
        ("GET", "/", 404, None),
    ],
)
async def test_other_places_and_methods_are_errors(
    autojump_clock: MockClock, method: str, target: str, status: int, allow: str | None
) -> None:
    async with open_site() as site:
        answer = await site.ask(chat(), method=method, target=target)
        assert (answer.status, answer.headers.get("allow")) == (status, allow)
        assert answer.error["code"]


@pytest.mark.parametrize(
    ("header", "status", "credential"),
    [
        (None, 401, "missing"),
        ("authorization: Bearer canary-wrong", 401, "wrong"),
        ("authorization: Basic canary", 401, "missing"),
        ("authorization: Bearer canary-right", 200, "right"),
        ("x-api-key: canary-right", 200, "right"),
        ("api-key: canary-right", 200, "right"),
    ],
)
async def test_a_key_is_checked_and_not_kept(
    autojump_clock: MockClock, header: str | None, status: int, credential: str
) -> None:
    async with open_site(key=Secret("canary-right")) as site:
        answer = await site.ask(chat(), *([header] if header else []), "idempotency-key: k1")
        record = site.provider.log[0]
        assert (answer.status, record.credential) == (status, credential)
        assert record.headers == {"idempotency-key": "k1"}
        assert "canary" not in repr(vars(site.provider)) + repr(record) + answer.raw.decode()


async def test_many_requests_share_a_connection(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        line = await site.connect()
        for number in range(3):
            await line.send_all(http(chat(), close=number == 2))
            if number < 2:
                await read_until(line, b"0\r\n\r\n")
        last = parse(await read_to_end(line))
        line.close()
        assert last.done
        assert site.network.statistics().accepted == 1
        assert [record.ending for record in site.provider.log] == ["complete"] * 3


async def test_requests_sent_ahead_are_answered_in_order(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        line = await site.connect()
        answer = await talk(line, http(chat("steady"), close=False) * 2 + http(chat()))
        assert answer.raw.count(b"[DONE]") == 3
        assert answer.ending == "fin"
        assert [record.model for record in site.provider.log] == ["steady", "steady", "fast"]


async def test_a_client_of_http_1_0_gets_no_chunks(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        answer = await site.ask(chat(), version="1.0", close=False)
        assert answer.done and answer.whole and answer.ending == "fin"
        assert "transfer-encoding" not in answer.headers
        assert answer.headers["connection"] == "close"


async def test_a_client_that_waits_for_a_hundred_gets_it_once(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        line = await site.connect()
        head, body = http(chat(), "expect: 100-continue").split(b"\r\n\r\n")
        await line.send_all(head + b"\r\n\r\n")
        await line.wait_readable()
        assert line.recv_nowait(999) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await line.send_all(body[:5])
        await trio.sleep(1)
        answer = await talk(line, body[5:])
        assert answer.status == 200 and answer.done


@pytest.mark.parametrize(
    ("junk", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01" + bytes(200), 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 70_000, 431),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n", 413),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 404),
    ],
)
async def test_nonsense_gets_an_answer_and_the_server_lives(
    autojump_clock: MockClock, junk: bytes, status: int
) -> None:
    async with open_site() as site:
        answer = await nonsense(await site.connect(), junk, flood=status == 413)
        assert (answer.status, answer.ending) == (status, "fin")
        assert answer.error["message"]
        assert (await site.ask(chat())).done


async def nonsense(line: PipeConnection, junk: bytes, *, flood: bool) -> Answer:
    """Send `junk`, and with `flood` go on sending; read the answer."""

    async def upload() -> None:
        while flood:
            await line.send_all(bytes(65536))

    async with trio.open_nursery() as nursery:
        await line.send_all(junk)
        nursery.start_soon(upload)
        answer = parse(await read_to_end(line))
        nursery.cancel_scope.cancel()
    line.close()
    return answer


@given(st.binary(min_size=1, max_size=300), st.booleans(), st.random_module())
def test_no_bytes_bring_the_server_down(junk: bytes, begun: bool, randomness: object) -> None:
    async def main() -> None:
        async with open_site(idle=5) as site:
            request = http(chat())
            data = request[: len(junk)] + junk if begun else junk
            line = await site.connect()
            await talk(line, data)
            assert (await site.ask(chat())).done

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_fresh_words_differ_between_requests(autojump_clock: MockClock) -> None:
    async with open_site(fresh=True) as site:
        texts = [(await site.ask(chat())).said() for _ in range(3)]
        assert len(set(texts)) == 3
        assert texts == [record.intended() for record in site.provider.log]


async def test_the_log_is_bounded(autojump_clock: MockClock) -> None:
    async with open_site(max_records=2) as site:
        for _ in range(5):
            await site.ask(chat())
        assert [record.number for record in site.provider.log] == [4, 5]
        assert (len(site.provider.log), site.provider.log.dropped) == (2, 3)
        assert [record.number for record in site.provider.log[1:]] == [5]


async def test_a_large_answer_waits_for_a_slow_client(autojump_clock: MockClock) -> None:
    async with open_site(back=Link(window=1000), link=Link()) as site:
        answer = await site.ask(chat("fast?respond.tokens=2000", stream=True))
        assert answer.done
        assert len(answer.said().split()) == 2000
        assert max(len(data) for _, data in answer.reads) <= 1000
