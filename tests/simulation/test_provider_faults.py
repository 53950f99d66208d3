"""What each fault does to an answer, byte for byte."""

import gzip
import json
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from streamnursery.simulator import (
    BadJson,
    BadUtf8,
    CallTool,
    CloseDelimited,
    Comments,
    Crlf,
    Cut,
    CutUpload,
    Drip,
    Garbage,
    InStreamError,
    NoEndMark,
    NoFinish,
    NoUsage,
    Plan,
    Redirect,
    Reset,
    Respond,
    Rule,
    Split,
    Stall,
    Status,
    UsageLie,
    When,
)
from streamnursery.simulator.fault import Fault
from tests.support.simulator import Answer, chat, http, open_site, script_header, talk

TEXT = "one two three four five"
FIVE = Respond(text=TEXT)
USAGE = {"stream_options": {"include_usage": True}}


async def answer_to(*script: Fault, **fields: Any) -> tuple[Answer, str]:
    """The answer and the log's word for its end."""
    async with open_site(FIVE, *script) as site:
        answer = await site.ask(chat(**fields))
        return answer, site.provider.log[0].ending


@pytest.mark.parametrize("at", range(7))
async def test_a_cut_comes_after_so_many_tokens(autojump_clock: MockClock, at: int) -> None:
    answer, ending = await answer_to(Cut(at))
    # There is no sixth token; the fifth's cut comes before the finish.
    assert answer.said() == prefix(at)
    assert (answer.ending, answer.whole, ending) == (
        ("fin", False, "cut") if at <= 5 else ("fin", True, "complete")
    )
    assert answer.finishes == ([] if at <= 5 else ["stop"])


def prefix(tokens: int) -> str:
    return " ".join(TEXT.split(" ")[:tokens])


@pytest.mark.parametrize("at", [0, 2, 5])
async def test_a_cut_can_look_like_a_whole_message(autojump_clock: MockClock, at: int) -> None:
    answer, ending = await answer_to(Cut(at, how="end"))
    assert (answer.said(), answer.whole, answer.done, ending) == (prefix(at), True, False, "cut")
    answer, ending = await answer_to(Cut(at), CloseDelimited())
    assert (answer.said(), answer.whole, answer.done, ending) == (prefix(at), True, False, "cut")


@pytest.mark.parametrize("at", [0, 2, 5])
async def test_a_reset_lets_a_client_that_reads_have_its_tokens(
    autojump_clock: MockClock, at: int
) -> None:
    answer, ending = await answer_to(Reset(at))
    assert (answer.said(), answer.ending, ending) == (prefix(at), "rst", "reset")


@pytest.mark.parametrize("crlf", [(), (Crlf(),)])
async def test_an_answer_can_be_cut_after_any_byte_and_the_log_counts_what_went_out(
    autojump_clock: MockClock, crlf: tuple[Fault, ...]
) -> None:
    whole, _ = await answer_to(*crlf)
    for at in range(0, len(whole.raw) + 1, 7):
        async with open_site(FIVE, *crlf, Cut(at, unit="bytes")) as site:
            answer = await site.ask(chat())
            record = site.provider.log[0]
        assert answer.raw == whole.raw[:at]
        assert record.ending == ("cut" if at < len(whole.raw) else "complete")
        # A bare CR ends a line as well.
        events = answer.body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")[:-1]
        assert record.sent_tokens == sum(b'"content":' in event for event in events[1:])
        assert record.sent() == prefix(record.sent_tokens)


async def test_a_reset_can_come_after_any_byte(autojump_clock: MockClock) -> None:
    answer, _ = await answer_to(Reset(100, unit="bytes"), stream=False)
    assert (len(answer.raw), answer.ending) == (100, "rst")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("after", [0, 3, 30])
async def test_an_upload_can_be_reset(autojump_clock: MockClock, after: int, stream: bool) -> None:
    async with open_site(CutUpload(after)) as site:
        line = await site.connect()
        head, body = http(chat(stream=stream)).split(b"\r\n\r\n")
        await line.send_all(head + b"\r\n\r\n" + body[:after])
        await line.wait_readable()
        with pytest.raises(ConnectionResetError):
            line.recv_nowait(99)
        line.close()
        assert site.provider.log[0].ending == "upload cut"
        assert site.provider.log[0].status is None


async def test_an_error_stands_in_place_of_a_token(autojump_clock: MockClock) -> None:
    answer, ending = await answer_to(InStreamError(2, "overloaded", "No.", "server_error"))
    assert len(answer.chunks) == 1 + 2 + 1
    error = {"message": "No.", "type": "server_error", "param": None, "code": "overloaded"}
    assert answer.chunks[-1] == {"error": error}
    assert (answer.whole, answer.done, ending) == (True, False, "in-stream error")
    answer, _ = await answer_to(InStreamError(0, 502, shape="openrouter", done=True))
    last = answer.chunks[-1]
    assert (last["error"]["code"], last["choices"][0]["finish_reason"]) == (502, "error")
    assert answer.done


async def test_broken_events_stand_among_good_ones(autojump_clock: MockClock) -> None:
    answer, _ = await answer_to(BadJson(1))
    good = [data for data in answer.data if is_json(data) or data == "[DONE]"]
    assert len(good) == len(answer.data) - 1
    assert '"content":" two"' not in answer.body.decode()
    answer, _ = await answer_to(BadUtf8(3), CallTool(function="f", arguments=TEXT))
    with pytest.raises(UnicodeDecodeError):
        answer.body.decode()
    assert answer.whole


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def test_lines_can_end_in_crlf_and_comments_stand_before_events(
    autojump_clock: MockClock,
) -> None:
    answer, _ = await answer_to(Crlf(), Comments(2))
    assert answer.body.count(b"\n") == answer.body.count(b"\r\n")
    assert answer.body.startswith(b": keep-alive\r\n\r\n: keep-alive\r\n\r\ndata: {")
    assert answer.body.count(b": keep-alive") == 2 * len(answer.data)
    assert (answer.said(), answer.done) == (TEXT, True)


async def test_end_mark_finish_and_usage_can_be_missing(autojump_clock: MockClock) -> None:
    answer, _ = await answer_to(NoEndMark())
    assert (answer.done, answer.finishes, answer.whole) == (False, ["stop"], True)
    answer, _ = await answer_to(NoFinish())
    assert (answer.done, answer.finishes) == (True, [])
    answer, _ = await answer_to(NoUsage(), **USAGE)
    assert answer.usage is None
    answer, _ = await answer_to(NoUsage(), NoFinish(), stream=False)
    body = json.loads(answer.body)
    assert "usage" not in body
    assert body["choices"][0]["finish_reason"] is None


@pytest.mark.parametrize(
    ("usage", "sent"),
    [
        ({"completion_tokens": -1}, b'"usage":{"completion_tokens":-1}'),
        ('{"completion_tokens": 1e400}', b'"usage":{"completion_tokens": 1e400}'),
        (None, b'"usage":null'),
    ],
)
async def test_usage_can_lie_and_be_no_number_at_all(
    autojump_clock: MockClock, usage: object, sent: bytes
) -> None:
    for fields in ({}, USAGE, {"stream": False}):
        answer, _ = await answer_to(UsageLie(usage), **fields)
        assert sent in answer.body


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.sets(st.sampled_from([Crlf(), Comments(1), CloseDelimited()])),
)
def test_splitting_never_changes_what_is_said(sizes: list[int], others: set[Fault]) -> None:
    async def main() -> None:
        answer, ending = await answer_to(Split(tuple(sizes)), *others, **USAGE)
        assert (answer.said(), answer.done, ending) == (TEXT, True, "complete")
        body = [data for _, data in answer.reads[1:]]
        assert all(len(data) <= max(sizes) for data in body)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_drip_takes_its_time(autojump_clock: MockClock) -> None:
    answer, _ = await answer_to(Drip(100, 0.5), CloseDelimited())
    pieces = -(-len(answer.body) // 100)
    assert answer.said() == TEXT
    assert trio.current_time() == pytest.approx((pieces - 1) * 0.5)


@pytest.mark.parametrize(
    ("kind", "status", "content_type", "body"),
    [
        ("html", 200, "text/html; charset=utf-8", b"<!doctype html>"),
        ("json", 200, "application/json", b'{"id"'),
        ("json_error", 200, "application/json", b'{"error"'),
        ("empty", 200, "text/event-stream; charset=utf-8", b""),
        ("no_content", 204, None, b""),
        ("plain", 200, "text/plain", b"data: {"),
        ("untyped", 200, None, b"data: {"),
        ("many_headers", 200, "text/event-stream; charset=utf-8", b""),
        ("long_header", 200, "text/event-stream; charset=utf-8", b""),
    ],
)
async def test_garbage_is_a_whole_message_of_the_wrong_kind(
    autojump_clock: MockClock, kind: str, status: int, content_type: str | None, body: bytes
) -> None:
    answer, _ = await answer_to(Garbage(kind))
    assert (answer.status, answer.headers.get("content-type")) == (status, content_type)
    assert answer.whole
    assert answer.body.startswith(body)
    assert bool(answer.body) == bool(body)


async def test_an_encoded_stream_is_a_true_one_inside(autojump_clock: MockClock) -> None:
    answer, _ = await answer_to(Garbage("gzip"))
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body).endswith(b"data: [DONE]\n\n")


async def test_what_is_no_http_is_no_http(autojump_clock: MockClock) -> None:
    answer, _ = await answer_to(Garbage("not_http"))
    assert (answer.status, answer.ending) == (0, "fin")
    assert answer.raw.startswith(b"220 ")


@pytest.mark.parametrize(
    "kind",
    [
        "endless_line",
        "endless_event",
        "endless_comment",
        "endless_header",
        "endless_informational",
    ],
)
async def test_endless_answers_go_on_until_the_client_leaves(
    autojump_clock: MockClock, kind: str
) -> None:
    async with open_site(Garbage(kind)) as site:
        answer = await talk(await site.connect(), http(chat()), most=3 << 20)
        assert len(answer.raw) >= 3 << 20
        assert not answer.whole
        await trio.testing.wait_all_tasks_blocked()
        assert site.provider.log[0].aborted
        # Bounded by the window: the provider was never far ahead.
        assert site.provider.log[0].sent_bytes <= len(answer.raw) + 128 * 1024


async def test_a_status_comes_with_what_the_script_says(autojump_clock: MockClock) -> None:
    answer, ending = await answer_to(Status(429, 2, error="insufficient_quota"))
    assert (answer.status, answer.headers["retry-after"], ending) == (429, "2", "status")
    assert answer.error["code"] == "insufficient_quota"
    answer, _ = await answer_to(Status(503, body="<h1>no</h1>", headers=(("Server", "nginx"),)))
    assert (answer.body, answer.headers["server"]) == (b"<h1>no</h1>", "nginx")
    assert answer.headers["content-type"].startswith("text/html")
    answer, _ = await answer_to(Status(529, body={"type": "error"}), stream=False)
    assert (answer.status, answer.body) == (529, b'{"type":"error"}')


async def test_an_early_status_does_not_wait_for_the_body(autojump_clock: MockClock) -> None:
    async with open_site(Status(413, early=True)) as site:
        line = await site.connect()
        head, body = http(chat(), close=False).split(b"\r\n\r\n")
        answer = await talk(line, head + b"\r\n\r\n" + body[:3])
        assert (answer.status, answer.ending) == (413, "fin")
        assert answer.headers["connection"] == "close"


async def test_a_redirect_names_its_target(autojump_clock: MockClock) -> None:
    answer, _ = await answer_to(Redirect("https://other.test/v1?x=1", 308))
    assert (answer.status, answer.headers["location"]) == (308, "https://other.test/v1?x=1")


async def test_plan_header_and_model_add_up(autojump_clock: MockClock) -> None:
    plan = Plan((
        Rule((Crlf(),), When(requests=(1, 2))),
        Rule((Comments(1),), When(model="fa*", requests=(2,))),
    ))
    async with open_site(plan=plan) as site:
        header = script_header([{"respond": {"text": TEXT}}])
        first = await site.ask(chat("sim/fast?no_end_mark=1"), header)
        second = await site.ask(chat(), header)
        third = await site.ask(chat(), header)
        assert site.provider.log[0].script == (Crlf(), FIVE, NoEndMark())
        assert site.provider.log[1].script == (Crlf(), FIVE, Comments(1))
        assert (first.said(), first.done) == (TEXT, False)
        assert (second.body[:2], third.body.count(b"\r\n")) == (b": ", 0)


async def test_a_script_that_cannot_be_read_is_a_bad_request(autojump_clock: MockClock) -> None:
    async with open_site() as site:
        answer = await site.ask(chat(), script_header([{"cut": -1}, {"black_hole": True}]))
        assert (answer.status, answer.error["code"]) == (400, "invalid_script")
        assert "script[0].cut.at: must be a whole number" in answer.error["message"]
        assert "black_hole comes before the request" in answer.error["message"]


@pytest.mark.parametrize("at", range(7))
@pytest.mark.parametrize("fault", [Cut, Reset])
async def test_an_answer_that_does_not_stream_breaks_off_at_its_share(
    autojump_clock: MockClock, at: int, fault: type[Cut] | type[Reset]
) -> None:
    answer, ending = await answer_to(fault(at), stream=False)
    if at > 5:
        assert (answer.whole, ending) == (True, "complete")
    else:
        assert not answer.whole
        assert ending == ("cut" if fault is Cut else "reset")


@pytest.mark.parametrize("fault", [BadJson(2), BadUtf8(2)])
async def test_an_answer_that_does_not_stream_may_be_no_json(
    autojump_clock: MockClock, fault: Fault
) -> None:
    answer, _ = await answer_to(fault, stream=False)
    assert answer.whole
    with pytest.raises(ValueError, match=r"."):
        json.loads(answer.body.decode())


async def test_an_answer_that_does_not_stream_may_stall_drip_and_fail(
    autojump_clock: MockClock,
) -> None:
    began = trio.current_time()
    usual, _ = await answer_to(stream=False)
    took = trio.current_time() - began
    began = trio.current_time()
    late, _ = await answer_to(Stall(2, seconds=30), Split((7,)), stream=False)
    assert trio.current_time() - began == pytest.approx(took + 30)
    assert json.loads(late.body)["choices"] == json.loads(usual.body)["choices"]
    failed, _ = await answer_to(InStreamError(1, code="oops", message="no"), stream=False)
    assert failed.status == 500
    assert json.loads(failed.body)["error"]["code"] == "oops"
