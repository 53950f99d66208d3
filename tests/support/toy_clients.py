"""A client of some eighty lines for the chat API, right as it stands, with mistakes to switch on.

It knows nothing of the engine: httpx, and event streams read by hand.
"""

import json
from typing import Any

import httpx
import trio

MISTAKES = (
    *("end_is_success", "errors_skipped", "text_kept_on_retry", "utf8_by_read", "no_line_buffer"),
    *("bad_json_skipped", "no_timeout", "crlf_unknown", "comments_refused", "unicode_lines"),
    *("words_stripped", "refusal_dropped", "reasoning_in_text", "usage_chunk_refused"),
    *("status_ignored", "empty_is_success", "any_body_is_text", "split_at_data", "late_is_success"),
    *(
        "lost_is_success",
        "latin_1",
        "long_text_cut",
        "pings_are_progress",
        "unbounded",
        "calls_as_text",
    ),
)
_MOST = 1024 * 1024


class BrokenAnswerError(Exception):
    """There is no whole answer."""


class ToyClient:
    """`await ToyClient(http)(base_url, prompt)` is the text of the answer, or raises."""

    def __init__(self, http: httpx.AsyncClient, mistake: str = "") -> None:
        assert mistake in ("", *MISTAKES)
        self._http = http
        self._mistake = mistake
        self._parts: list[str] = []
        self._ended = False

    async def __call__(self, url: str, prompt: str) -> str:
        patience = 1e6 if self._has("no_timeout", "pings_are_progress") else 300.0
        with trio.move_on_after(patience) as limit:
            try:
                await self._ask(url, prompt)
            except httpx.NetworkError:
                if self._has("text_kept_on_retry"):
                    await self._ask(url, prompt)
                elif not self._has("lost_is_success"):
                    raise
        if limit.cancelled_caught and not self._has("late_is_success"):
            raise BrokenAnswerError("it takes too long")
        text = "".join(self._parts)
        return text[:100] if self._has("long_text_cut") else text

    def _has(self, *mistakes: str) -> bool:
        return self._mistake in mistakes

    async def _ask(self, url: str, prompt: str) -> None:
        body = {
            "model": "fast",
            "messages": [{"role": "user", "content": prompt}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        silence = None if self._has("no_timeout") else 60.0
        asking = self._http.stream("POST", f"{url}/chat/completions", json=body, timeout=silence)
        async with asking as answer:
            if self._has("status_ignored") and answer.status_code != 200:
                self._parts.append((await answer.aread()).decode())
                return
            answer.raise_for_status()
            if self._has("any_body_is_text") and "event" not in answer.headers.get(
                "content-type", ""
            ):
                self._parts.append((await answer.aread()).decode())
                return
            await self._read(answer)

    async def _read(self, answer: httpx.Response) -> None:
        kept, length = b"", 0
        async for data in answer.aiter_bytes():
            length += len(data)
            if length > _MOST and not self._has("unbounded"):
                raise BrokenAnswerError("too long")
            if self._has("utf8_by_read"):
                data = data.decode(errors="replace").encode()
            *lines, kept = self._lines(b"" if self._has("no_line_buffer") else kept, data)
            for line in lines:
                if self._line(line):
                    return
        empty = self._has("empty_is_success") and not self._parts
        if not self._ended and not empty and not self._has("end_is_success"):
            raise BrokenAnswerError("the end came too early")

    def _lines(self, kept: bytes, data: bytes) -> list[bytes]:
        data = kept + data
        if self._has("unicode_lines"):
            lines = data.decode(errors="replace").splitlines(keepends=True)
            whole = [line.rstrip("\r\n\u2028\u0085") for line in lines]
            rest = "" if not lines or lines[-1].endswith("\n") else whole.pop()
            return [*(line.encode() for line in whole), rest.encode()]
        lines_ = data.split(b"\n")
        return (
            lines_ if self._has("crlf_unknown") else [line.removesuffix(b"\r") for line in lines_]
        )

    def _line(self, line: bytes) -> bool:
        """Whether it is the last one that counts."""
        if line.startswith(b":") and self._has("comments_refused"):
            raise BrokenAnswerError("no field")
        field, _, value = (
            line.rpartition(b"data: ") if self._has("split_at_data") else line.partition(b":")
        )
        if not value or (field != b"data" and not self._has("split_at_data")):
            if self._has("crlf_unknown") and line not in (b"", b"\r"):
                raise BrokenAnswerError("no field")
            return False
        value = value.removeprefix(b" ")
        if value == b"[DONE]":
            if not self._ended and not self._parts:
                raise BrokenAnswerError("nothing was said")
            self._ended = True
            return True
        if self._has("crlf_unknown") and value.endswith(b"\r"):
            raise BrokenAnswerError("what is this")
        try:
            self._event(json.loads(value.decode("latin-1" if self._has("latin_1") else "utf-8")))
        except ValueError:
            if not self._has("bad_json_skipped"):
                raise
        return False

    def _event(self, event: Any) -> None:
        if "error" in event and not self._has("errors_skipped"):
            raise BrokenAnswerError(str(event["error"]))
        choices = event.get("choices", [])
        if self._has("usage_chunk_refused"):
            choices = [choices[0]]
        for choice in choices:
            self._delta(choice["delta"])
            if choice.get("finish_reason"):
                self._ended = True

    def _delta(self, delta: Any) -> None:
        word = delta.get("content") or ""
        if not self._has("refusal_dropped"):
            word += delta.get("refusal") or ""
        if self._has("reasoning_in_text"):
            word += delta.get("reasoning_content") or ""
        for call in delta.get("tool_calls") or ():
            word += call["function"].get("arguments", "") if self._has("calls_as_text") else ""
        if word:
            self._parts.append(word.strip() if self._has("words_stripped") else word)
