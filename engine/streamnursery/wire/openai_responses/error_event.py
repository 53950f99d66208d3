"""The `error` event of a Responses stream."""

from typing import Any

from streamnursery.values.errors import EngineError
from streamnursery.values.http import HttpHead
from streamnursery.wire.error_answers import error_in_stream
from streamnursery.wire.json_text import read_json, text_of
from streamnursery.wire.retry_after import retry_after


def stream_error(data: bytes) -> EngineError:
    """The typed error of an `error` event, with the status and the wait that it names."""
    found = read_json(data)
    value = found if isinstance(found, dict) else {}
    told = value["error"] if isinstance(value.get("error"), dict) else value
    status = value.get("status", value.get("status_code"))
    error = error_in_stream({"error": {"status_code": status, **told}}, data)
    headers = told.get("headers")
    if isinstance(headers, dict):
        error.retry_after = _asked(headers) or error.retry_after
    return error


def _asked(headers: dict[str, Any]) -> float | None:
    """Seconds of a Retry-After among an error's headers; dates, which need a clock, left out."""
    plain = [(name.lower(), text_of(value).strip()) for name, value in headers.items()]
    counted = tuple((name, value) for name, value in plain if value[:1].isdecimal())
    return retry_after(HttpHead(200, counted), now=0.0)
