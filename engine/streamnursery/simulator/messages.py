"""The answers of Anthropic's Messages API: events, streamed or whole.

The words are those of the chat API: one reply, in other events.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from streamnursery.serving.steps import Step, batched
from streamnursery.simulator.chat import AnswerSpec, first
from streamnursery.simulator.reply import Reply
from streamnursery.simulator.script import InStreamError, NoEndMark, NoFinish, UsageLie
from streamnursery.simulator.told_events import ToldEvents
from streamnursery.wire.anthropic_messages.server import MessageWriter, mistake
from streamnursery.wire.openai_chat.server import ApiError

VERSION = "anthropic-version"


def check_version(headers: dict[str, str]) -> None:
    """Raises `ApiError` 400 for a request that names no version of the API."""
    if VERSION not in headers:
        raise ApiError(400, f"{VERSION}: header is required")


def completion(sheet: AnswerSpec) -> bytes:
    """The body of an answer that is not streamed."""
    telling = _writer(sheet)
    for part, content in sheet.reply.choices[0].deltas():
        telling.token(part, content)
    usage = _usage(sheet)
    telling.closing(_finish(sheet), usage)
    return msgspec.json.encode(telling.message | ({} if usage is None else {"usage": usage}))


def events(sheet: AnswerSpec) -> Iterator[Step]:
    """The body of a streamed answer."""
    steps = _MessageEvents(sheet, _writer(sheet)).steps()
    return steps if sheet.gap else batched(steps)


def limit_headers(headers: list[tuple[str, str]], unix: float) -> list[tuple[str, str]]:
    """Headers about limits as Anthropic names them, with resets as dates."""
    found = []
    for name, value in headers:
        if not name.startswith("x-ratelimit-"):
            found.append((name, value))
            continue
        _, _, what, kind = name.split("-", 3)
        if what == "reset":
            value = datetime.fromtimestamp(unix + _seconds(value), UTC).isoformat()
            value = value.replace("+00:00", "Z")
        found.append((f"anthropic-ratelimit-{kind}-{what}", value))
    return found


def _seconds(duration: str) -> float:
    """Of `limits.duration`."""
    if duration.endswith("ms"):
        return float(duration[:-2]) / 1000
    minutes, _, rest = duration.removesuffix("s").rpartition("m")
    return 60 * float(minutes or 0) + float(rest)


def _writer(sheet: AnswerSpec) -> MessageWriter:
    counts = _counts(sheet.reply, 1)
    return MessageWriter(sheet.id, sheet.question.model, counts)


def _counts(reply: Reply, output_tokens: int) -> dict[str, Any]:
    """As Anthropic counts: the cached part of the input is none of `input_tokens`."""
    return {
        "input_tokens": reply.input_tokens - reply.cached_tokens,
        "output_tokens": output_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": reply.cached_tokens,
    }


def _usage(sheet: AnswerSpec) -> object:
    reported = sheet.reported_usage()
    if reported is None or first(sheet.script, UsageLie):
        return reported and msgspec.Raw(reported)
    reply = sheet.reply
    counts = _counts(reply, reply.output_tokens)
    return {**counts, "output_tokens_details": {"thinking_tokens": reply.reasoning_tokens}}


def _finish(sheet: AnswerSpec) -> str | None:
    return None if first(sheet.script, NoFinish) else sheet.reply.choices[0].finish


class _MessageEvents(ToldEvents[MessageWriter]):
    def _closing(self) -> Iterator[bytes]:
        sheet = self._sheet
        stops = first(sheet.script, NoEndMark) is None
        yield self._framed(self._told.closing(_finish(sheet), _usage(sheet), stops=stops))

    def _mistake(self, fault: InStreamError) -> bytes:
        kind = fault.code if isinstance(fault.code, str) else fault.type
        return mistake(kind, fault.message)
