"""Anthropic's Message Batches (`/v1/messages/batches`), asked through an engine's relay.

Rule 1: the API keeps nothing of a batch to know it by but the `custom_id`s of its requests, which
        it shows when the batch has ended. So each is the mark of its part and a number, and one
        whose answer was lost is among those that are newer than the newest one before it was asked
        for: an ended one shows its mark, and one that still works and has as many requests is
        waited for, until it shows whether it is ours.
Rule 2: results are asked for at the endpoint, and not at the address that an answer names.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from streamnursery.batch.answers import body_of
from streamnursery.batch.lines import URLS
from streamnursery.batch.parts import Part
from streamnursery.batch.provider_api import (
    MOST_PAGES,
    PAGE,
    NotOursError,
    ProviderApi,
    object_of,
)
from streamnursery.batch.provider_lines import AnsweredLine
from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.completion import Completion
from streamnursery.values.errors import EngineError, MalformedChunkError
from streamnursery.values.events import Finished, StreamEvent
from streamnursery.values.timings import Timings
from streamnursery.values.usage import Usage
from streamnursery.wire.anthropic_messages.client import VERSION
from streamnursery.wire.anthropic_messages.content import DIALECT
from streamnursery.wire.anthropic_messages.stream import AnthropicMessagesStream

_PATH: Final = "/messages/batches"
_STATUSES: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Of an error's type, which is all that a result has."""
_UNASKED: Final = {
    "expired": ("batch_expired", "the batch ended before this request was answered"),
    "canceled": ("batch_cancelled", "the batch was cancelled before this request was answered"),
}


class AnthropicBatchApi(ProviderApi):
    """`/v1/messages/batches`."""

    keeps_input = False
    headers: ClassVar[Mapping[str, str]] = {VERSION[0]: str(VERSION[1])}

    def line(self, row: str, name: str, url: str, body: Mapping[str, Any]) -> bytes:
        del row, url
        return msgspec.json.encode({"custom_id": name, "params": body}, enc_hook=str)

    def joined(self, lines: Sequence[bytes]) -> bytes:
        return b'{"requests":[' + b",".join(lines) + b"]}"

    async def newest(self) -> str:
        page = await self._get(f"{_PATH}?limit=1")
        return next((str(batch["id"]) for batch in page.get("data") or []), "")

    async def create(self, part: Part, data: bytes) -> str:
        del part
        return await self._post(_PATH, data)

    async def batch(self, name: str) -> dict[str, Any]:
        return await self._get(f"{_PATH}/{name}")

    def is_over(self, batch: Mapping[str, Any]) -> bool:
        return batch.get("processing_status") == "ended"

    async def find(self, part: Part, known: Collection[str]) -> str | None:
        for batch in await self._newer(part.since):
            name = str(batch.get("id"))
            counts = (batch.get("request_counts") or {}).values()
            if name in known or name in part.strangers or sum(counts) != len(part.names):
                continue
            if not self.is_over(batch):
                return name
            try:
                await self.answers(part, batch)
            except NotOursError:
                part.strangers.add(name)
            else:
                return name
        return None

    async def _newer(self, than: str) -> list[dict[str, Any]]:
        """The oldest first."""
        found: list[dict[str, Any]] = []
        where = f"&before_id={than}" if than else ""
        for _ in range(MOST_PAGES):
            page = await self._get(f"{_PATH}?limit={PAGE}{where}")
            batches = page.get("data") or []
            # Before a batch come those that are newer, the nearest page first; from the newest one
            # on the pages go back in time.
            found = batches + found if than else found + batches
            if not page.get("has_more") or not batches:
                break
            where = f"&before_id={batches[0]['id']}" if than else f"&after_id={batches[-1]['id']}"
        return found[::-1]

    async def answers(self, part: Part, batch: Mapping[str, Any]) -> Iterator[AnsweredLine]:
        if not batch.get("results_url"):
            raise NotOursError  # kept no more: those of a batch of ours were fetched long before
        data = await self._ask("GET", f"{_PATH}/{batch['id']}/results")
        lines = [line for line in data.split(b"\n") if line.strip()]
        if not lines or not str(object_of(lines[0]).get("custom_id")).startswith(f"{part.id}-"):
            raise NotOursError
        return (_answer(line, part) for line in lines)


def _answer(data: bytes, part: Part) -> AnsweredLine:
    """What a line says of the part's row.

    Raises:
        MalformedChunkError: it cannot be read.
    """
    told = object_of(data)
    name, result = told.get("custom_id"), told.get("result")
    mark, _, number = str(name).rpartition("-")
    if mark != part.id or not number.isdecimal() or int(number) >= len(part.names):
        what = f"its custom_id is none of ours: {name!r:.80}"
        raise _unreadable(what, data)
    if not isinstance(result, dict):
        raise _unreadable("it has no result", data)
    row = part.names[int(number)]
    line = f"batch_req_{name}"
    kind = result.get("type")
    if kind == "succeeded":
        body, usage = _body(result.get("message"), part, data)
        response = {"status_code": 200, "request_id": "", "body": body}
        return AnsweredLine(row, True, usage, 200, line, response, None)
    if kind in _UNASKED:
        code, message = _UNASKED[kind]
        return AnsweredLine(row, False, Usage(), 0, line, None, {"code": code, "message": message})
    if kind == "errored":
        error: dict[str, Any] = result.get("error") or {}
        inner = error.get("error")
        about = inner if isinstance(inner, dict) else error
        status = _STATUSES.get(str(about.get("type")), 500)
        body = {"error": {"message": about.get("message"), "type": about.get("type")}}
        response = {
            "status_code": status,
            "request_id": str(error.get("request_id") or ""),
            "body": body,
        }
        return AnsweredLine(row, False, Usage(), status, line, response, None)
    what = f"its result is of the type {kind!r:.40}"
    raise _unreadable(what, data)


def _body(message: object, part: Part, data: bytes) -> tuple[dict[str, Any], Usage]:
    """A message as the body that every other answer of a batch has, and what it has used."""
    decoder, events = AnthropicMessagesStream(), list[StreamEvent]()
    if not isinstance(message, dict) or not decoder.take_whole(message, events):
        raise _unreadable("its message is none, or not whole", data)
    transcript = Transcript()
    transcript.add(events)
    kinds = [event.kind for event in events if type(event) is Finished]
    usage = transcript.usage or Usage()
    completion: Completion[Any] = Completion(
        choices=transcript.choices(),
        usage=usage,
        timings=Timings(0.0),
        route=part.route,
        model=decoder.response_model,
        response_id=decoder.response_id,
        request_id=None,
        finish_kind=kinds[-1] if kinds else "other",
        dialect=DIALECT,
    )
    return body_of(completion, URLS[part.url]), usage


def _unreadable(what: str, data: bytes) -> EngineError:
    text = data[:200].decode(errors="replace")
    msg = f"a line of the provider's batch cannot be read: {what}"
    return MalformedChunkError(msg, status=200, body=text)
