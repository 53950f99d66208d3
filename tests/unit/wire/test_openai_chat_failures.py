"""How a stream breaks: what was delivered, and the one typed error."""

from pathlib import Path

import pytest

from streamnursery.values.errors import (
    ContentError,
    EngineError,
    MalformedChunkError,
    ModelError,
    QuotaError,
    RateLimitedError,
    ServerError,
    TooLargeError,
    TruncatedStreamError,
    UnexpectedContentError,
)
from streamnursery.values.events import StreamEvent, TextDelta
from streamnursery.wire.openai_chat.stream import OpenAIChatStream

STREAMS = Path(__file__).parents[2] / "data" / "streams"


def run(body: bytes, n: int = 1) -> tuple[EngineError, list[StreamEvent]]:
    decoder = OpenAIChatStream(n)
    events = decoder.feed(body) + decoder.end()
    assert not decoder.done
    assert decoder.failure is not None
    assert decoder.feed(b"data: [DONE]\n\n") == []
    assert decoder.end() == []
    return decoder.failure, events


def read(name: str, n: int = 1) -> tuple[EngineError, list[StreamEvent]]:
    return run((STREAMS / f"{name}.sse").read_bytes(), n)


HELLO = [TextDelta("Hello")]


@pytest.mark.parametrize(
    ("name", "kind", "code", "retryable", "delivered"),
    [
        ("error_object", ServerError, "server_error", True, True),
        ("error_openrouter", ServerError, "502", True, True),
        ("error_vllm", ServerError, "500", True, True),
        ("error_event_as_text", ServerError, None, True, True),
        ("error_rate_limit", RateLimitedError, "rate_limit_exceeded", True, False),
        ("error_quota", QuotaError, "429", False, False),
        ("error_at_top", ModelError, "404", False, False),
        ("error_finish_reason", ServerError, None, True, True),
        ("error_in_choice", RateLimitedError, "429", True, True),
        ("error_in_x_groq", ServerError, None, True, True),
        ("error_without_framing", ServerError, "overloaded_error", True, True),
        ("error_as_code_and_message", RateLimitedError, "Throttling", True, True),
        ("error_as_detail", ServerError, None, True, False),
    ],
)
def test_b9_an_error_inside_the_stream_is_typed_and_what_came_before_is_delivered(
    name: str, kind: type[EngineError], code: str | None, retryable: bool, delivered: bool
) -> None:
    error, events = read(name)
    assert type(error) is kind
    assert (error.status, error.code, error.retryable) == (200, code, retryable)
    assert events == (HELLO if delivered else [])
    assert "the provider reported an error inside the stream" in str(error)


def test_the_words_of_an_error_stand_on_its_body_and_in_its_message() -> None:
    error, _ = read("error_event")
    assert type(error) is ContentError
    assert error.code == "tool_use_failed"
    assert error.body is not None
    assert "Tool call validation failed" in error.body
    assert "Tool call validation failed" in str(error)


def test_a_delay_that_the_message_asks_for_is_kept() -> None:
    error, _ = read("error_rate_limit")
    assert error.retry_after == pytest.approx(0.599)


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("truncated", ["Hello", " world"]),
        ("truncated_in_a_character", ["Hello", " world"]),
    ],
)
def test_b5_an_end_without_evidence_is_a_truncation(name: str, texts: list[str]) -> None:
    error, events = read(name)
    assert type(error) is TruncatedStreamError
    assert error.retryable
    assert error.status == 200
    assert events == [TextDelta(text) for text in texts]
    assert "after 3 chunks without [DONE]" in str(error)
    assert "choice 0" in str(error)


def test_one_finished_choice_of_two_is_a_truncation() -> None:
    error, _ = read("two_choices_one_unfinished", n=2)
    assert type(error) is TruncatedStreamError
    assert "for choice 1:" in str(error)
    assert type(read("two_choices_one_unfinished", n=1)[0]) is TruncatedStreamError
    assert type(read("no_end_mark", n=2)[0]) is TruncatedStreamError


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n" * 3, b"event: x\n\n", b"id: 1\n"])
def test_an_answer_without_a_single_event_is_a_truncation(body: bytes) -> None:
    error, events = run(body)
    assert type(error) is TruncatedStreamError
    assert "without a single event" in str(error)
    assert events == []


def test_b10_a_chunk_that_is_no_json_ends_the_stream() -> None:
    error, events = read("malformed")
    assert type(error) is MalformedChunkError
    assert error.retryable
    assert events == HELLO
    assert "chunk 2 " in str(error)
    assert error.body == '{"id":"c1","choices":[{"index":0,'


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b'"[DONE]"',
        b"1",
        b"null",
        b"hello",
        b"{",
        b'{"x":nan}',
        b'{"choices":{"0":{"delta":{"content":"lost"}}}}',
        b'{"x":' + b"[" * 100_000,
        b'{"choices":[{"index":-1}]}',
        b'{"choices":[{"index":1024}]}',
        b'{"choices":[{"index":0.5}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"index":4096}]}}]}',
    ],
)
def test_a_chunk_that_is_no_chunk_is_malformed(data: bytes) -> None:
    error, _ = run(b"data: " + data + b"\n\n")
    assert type(error) is MalformedChunkError


def test_content_as_deep_as_json_may_be_is_malformed_and_no_crash() -> None:
    for depth in range(900, 1000, 7):
        content = b"[" * depth + b"]" * depth
        decoder = OpenAIChatStream()
        decoder.feed(b'data: {"choices":[{"delta":{"content":' + content + b"}}]}\n\n")
        assert decoder.failure is None or type(decoder.failure) is MalformedChunkError


def test_at_most_200_bytes_of_a_malformed_chunk_are_kept() -> None:
    error, _ = run(b"data: " + "é".encode() * 5000 + b"\n\n")
    assert error.body == "é" * 100
    error, _ = run(b"data: " + b"\xff" * 5000 + b"\n\n")
    assert error.body == "\ufffd" * 66


def test_more_choices_than_anyone_asks_for_are_too_large() -> None:
    error, _ = run(b'data: {"choices":[' + b"{}," * 1024 + b"{}]}\n\n")
    assert type(error) is TooLargeError


def test_more_tool_calls_than_anyone_makes_are_too_large() -> None:
    pieces = b",".join(b'{"id":"%d"}' % i for i in range(4097))
    error, _ = run(b'data: {"choices":[{"delta":{"tool_calls":[' + pieces + b"]}}]}\n\n")
    assert type(error) is TooLargeError
    assert "4,096 tool calls" in str(error)


def test_t10_an_endless_line_is_too_large() -> None:
    decoder = OpenAIChatStream()
    for _ in range(17):
        decoder.feed(b"x" * 1024 * 1024)
    assert type(decoder.failure) is TooLargeError


@pytest.mark.parametrize(
    ("body", "retryable", "word"),
    [
        (b"<!doctype html>\n<html>no</html>\n", True, "HTML"),
        (b"upstream connect error", True, "text"),
        (b'{"id":"c1",\n "choices":[]}', False, "JSON"),
        (b'[{"id":"c1"}]', False, "JSON"),
        (b'{"id":"c1","object":"chat.completion","choices":[{"message":{}}]}', False, "JSON"),
        (b'{"cut', True, "broken JSON"),
    ],
)
def test_h6_a_body_that_is_no_event_stream_is_unexpected_content(
    body: bytes, retryable: bool, word: str
) -> None:
    error, events = run(body)
    assert type(error) is UnexpectedContentError
    assert error.retryable is retryable
    assert f"200 with {word} instead" in str(error)
    assert error.body == body.decode().strip()
    assert events == []


@pytest.mark.parametrize("wrap", [b"%s", b"[%s]", b"\n  %s\n"])
def test_h6_a_json_error_object_as_body_is_the_error_it_says(wrap: bytes) -> None:
    error, _ = run(wrap % b'{"error":{"message":"no money","code":"insufficient_quota"}}')
    assert type(error) is QuotaError
    assert error.status == 200


def test_an_endless_page_is_refused_after_64_kib() -> None:
    decoder = OpenAIChatStream()
    fed = 0
    while decoder.failure is None:
        decoder.feed(b"<p>one line of a page</p>\n" * 100)
        fed += 2600
    assert type(decoder.failure) is UnexpectedContentError
    assert fed <= 64 * 1024 + 2600
    assert decoder.failure.body is not None
    assert len(decoder.failure.body) == 2048


def test_stray_lines_inside_a_stream_do_not_end_it() -> None:
    decoder = OpenAIChatStream()
    plain = (STREAMS / "plain.sse").read_bytes().replace(b"\n\n", b"\n\nnoise\n")
    decoder.feed(plain)
    assert decoder.done
    assert type(run(b"noise\n" + (STREAMS / "truncated.sse").read_bytes())[0]) is (
        TruncatedStreamError
    )


def test_an_error_event_without_words_is_a_server_error() -> None:
    error, _ = run(b"event: error\ndata\n\n")
    assert type(error) is ServerError
    assert error.body == ""


@pytest.mark.parametrize("error", [b"null", b'""', b"{}", b"false"])
def test_an_error_field_that_says_nothing_is_no_error(error: bytes) -> None:
    decoder = OpenAIChatStream()
    chunk = b'data: {"error":' + error + b',"choices":[{"delta":{"content":"Hello"}}]}\n\n'
    assert decoder.feed(chunk) == HELLO
    assert decoder.failure is None
