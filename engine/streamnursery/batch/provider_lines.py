"""Lines to and from a provider's batch API."""

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from streamnursery.batch.lines import BatchRow
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.values.errors import ConfigError, MalformedChunkError
from streamnursery.values.usage import Usage
from streamnursery.wire.token_counts import read_usage

OPENAI, ANTHROPIC = ("openai-chat", "openai-responses"), "anthropic-messages"
"""Dialects of endpoints that have such batches."""
_NO_BODY = ("stream", "stream_options")
_RETRYABLE = frozenset({408, 429, 500, 502, 503, 504, 529})


def url_and_body(row: BatchRow, outlet: Outlet, model: str) -> tuple[str, Mapping[str, Any]]:
    """What a row is as a request of a batch: its own body where it has one in that language. The
    path says in which shape its answer is written.

    Raises:
        ConfigError: its endpoint has no such batches.
    """
    if outlet.dialect.name == ANTHROPIC:
        return _message(row, outlet, model)
    if outlet.dialect.name not in OPENAI:
        msg = (
            f"endpoint {outlet.endpoint.name!r} speaks {outlet.dialect.name}; batches of the "
            "provider's are made by the APIs of OpenAI and Anthropic alone: leave out --via"
        )
        raise ConfigError(msg)
    own = row.fields.get("body")
    if row.url:
        return row.url, {**row.body, "model": model}
    if isinstance(own, Mapping):
        body = own
        url = "/v1/responses" if row.api == "responses" else "/v1/chat/completions"
    else:
        body = msgspec.json.decode(outlet.dialect.encode(row.request, outlet.endpoint, model))
        url = "/v1" + outlet.dialect.path(row.request, model).partition("?")[0]
    return url, {**{n: v for n, v in body.items() if n not in _NO_BODY}, "model": model}


def _message(row: BatchRow, outlet: Outlet, model: str) -> tuple[str, Mapping[str, Any]]:
    if row.url:
        msg = (
            f"row {row.id!r:.80} is for {row.url}, which batches of endpoint "
            f"{outlet.endpoint.name!r} do not know: it speaks {ANTHROPIC}"
        )
        raise ConfigError(msg)
    own = row.fields.get("params")
    if not isinstance(own, Mapping):
        own = msgspec.json.decode(outlet.dialect.encode(row.request, outlet.endpoint, model))
    url = "/v1/responses" if row.api == "responses" else "/v1/chat/completions"
    return url, {**{n: v for n, v in own.items() if n not in _NO_BODY}, "model": model}


class _Line(msgspec.Struct):
    custom_id: str
    id: str = ""
    response: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


class _AnsweredBody(msgspec.Struct):
    usage: dict[str, Any] | None = None


class _Response(msgspec.Struct):
    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw(b"null")


_line = msgspec.json.Decoder(_Line).decode


@attrs.frozen
class AnsweredLine:
    """A line of a batch's output or of its errors."""

    custom_id: str
    well: bool
    usage: Usage
    status: int
    _id: str
    _response: object = attrs.field(repr=False)
    """JSON, or what becomes it."""
    _error: object = attrs.field(repr=False)

    def line(self, digest: str, route: str, batch: str) -> bytes:
        """It as a line of ours."""
        ours: dict[str, Any] = {"digest": digest, "route": route, "batch": batch}
        if not self.well:
            ours["retryable"] = self.status == 0 or self.status in _RETRYABLE
        line = {
            "id": self._id,
            "custom_id": self.custom_id,
            "response": self._response,
            "error": self._error,
            "streamnursery": ours,
        }
        return msgspec.json.encode(line) + b"\n"


def answer_of(data: bytes) -> AnsweredLine:
    """What a line says.

    Raises:
        MalformedChunkError: it is none.
    """
    try:
        line = _line(data)
        response = _response(line.response) if _there(line.response) else None
        failed = _there(line.error)
        well = not failed and response is not None and 200 <= response.status_code < 300
        usage = _usage(response) if response is not None and well else Usage()
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        text = data[:200].decode(errors="replace")
        msg = f"a line of the provider's batch cannot be read: {error}"
        raise MalformedChunkError(msg, status=200, body=text) from None
    status = 0 if response is None else response.status_code
    return AnsweredLine(line.custom_id, well, usage, status, line.id, line.response, line.error)


def _there(raw: msgspec.Raw) -> bool:
    return bool(raw) and bytes(raw) != b"null"


_response = msgspec.json.Decoder(_Response).decode
_body = msgspec.json.Decoder(_AnsweredBody).decode


def _usage(response: _Response) -> Usage:
    try:
        told = _body(response.body).usage
    except msgspec.ValidationError:
        return Usage()
    return (told and read_usage(told)) or Usage()
