"""Answers of a script in place of the usual ones: errors, redirects, and garbage."""

import gzip
from collections.abc import Callable, Iterator
from itertools import chain, repeat, takewhile
from math import inf

import msgspec

from streamnursery.serving.steps import JSON, End, Headers, How, Send, Step, chunked, head, whole
from streamnursery.simulator.cuts import drip, split
from streamnursery.simulator.script import Drip, Garbage, Redirect, Script, Split, Status
from streamnursery.wire.openai_chat.server import ApiError

EVENTS = ("content-type", "text/event-stream; charset=utf-8")
HTML = ("content-type", "text/html; charset=utf-8")
_PAGE = b"<!doctype html><html><head><title>Welcome</title></head><body>It works!</body></html>\n"
_BLOCK = b"x" * (16 * 1024)


def streamed(
    body: Iterator[Step],
    headers: Headers,
    *,
    at: float = -inf,
    chunks: bool = True,
    script: Script = (),
) -> Iterator[Step]:
    """A 200 whose end its chunks show; without them the connection has to end with it."""
    how = (("transfer-encoding", "chunked"),) if chunks else ()
    begin = Send(head(200, (*headers, *how)), at)
    if chunks:
        body = chunked(body)
    for fault in script:
        if isinstance(fault, Split):
            body = split(body, fault.sizes)
        elif isinstance(fault, Drip):
            body = drip(body, fault.bytes, fault.every)
    return chain([begin], body)


def error_status(
    fault: Status, own_headers: Headers, *, keep: bool, worded: Callable[[ApiError], bytes]
) -> Iterator[Step]:
    """What `fault` asks for, in the words of an API."""
    kind, body = JSON, b""
    if fault.body is None:
        told = error_of(fault)
        kind_of = told["type"] or ""
        body = worded(ApiError(fault.code, told["message"] or "", code=told["code"], kind=kind_of))
    elif isinstance(fault.body, str):
        kind, body = HTML, fault.body.encode()
    else:
        body = msgspec.json.encode(fault.body)
    headers = [*own_headers, kind]
    if fault.retry_after is not None:
        headers.append(("retry-after", str(fault.retry_after)))
    given = dict(fault.headers)
    headers = [pair for pair in headers if pair[0] not in {name.lower() for name in given}]
    end = End(How.KEEP if keep else How.CLOSE, "status")
    return whole(fault.code, body, (*headers, *fault.headers), end=end)


def error_of(fault: Status) -> dict[str, str | None]:
    """The error object of a status that was asked for, in OpenAI's shape."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(fault.code, "server_error" if fault.code >= 500 else "invalid_request_error")
    message = f"The simulated provider was told to answer {fault.code}."
    code = fault.error
    return {"message": message, "type": code or kind, "param": None, "code": code}


def redirect(fault: Redirect, headers: Headers) -> Iterator[Step]:
    end = End(How.KEEP, "redirect")
    return whole(fault.status, b"", (*headers, ("location", fault.location)), end=end)


def garbage(fault: Garbage, headers: Headers, stream: Iterator[Step]) -> Iterator[Step]:
    """What `fault` asks for; `stream` is the body it spoils or keeps silent."""
    pairs = tuple(headers)
    end = End(How.KEEP, "garbage")
    answer = {"id": "chatcmpl-0", "object": "chat.completion", "choices": []}
    mistake = {"error": {"message": "Something failed.", "type": "server_error", "code": None}}
    match fault.kind:
        case "html":
            return whole(200, _PAGE, (*pairs, HTML), end=end)
        case "json":
            return whole(200, msgspec.json.encode(answer), (*pairs, JSON), end=end)
        case "json_error":
            return whole(200, msgspec.json.encode(mistake), (*pairs, JSON), end=end)
        case "empty":
            return whole(200, b"", (*pairs, EVENTS), end=end)
        case "no_content":
            return whole(204, b"", pairs, end=end)
        case "plain":
            return streamed(stream, (*pairs, ("content-type", "text/plain")))
        case "untyped":
            return streamed(stream, pairs)
        case "gzip":
            # Up to the first stall: it may be one without end.
            sends = takewhile(lambda step: isinstance(step, Send), stream)
            text = b"".join(step.data for step in sends if isinstance(step, Send))
            body = gzip.compress(text, mtime=0)
            return whole(200, body, (*pairs, EVENTS, ("content-encoding", "gzip")), end=end)
        case "not_http":
            return iter([Send(b"220 mail.example ESMTP ready\r\n"), End(How.CUT, "garbage")])
        case _:
            return _excess(fault.kind, pairs)


def _excess(kind: str, headers: tuple[tuple[str, str], ...]) -> Iterator[Step]:
    if kind == "long_header":
        return whole(200, b"", (*headers, EVENTS, ("x-filler", "x" * 64 * 1024)))
    if kind == "many_headers":
        return whole(200, b"", (*headers, EVENTS, *((f"x-{i}", "x") for i in range(1000))))
    if kind == "endless_informational":
        return map(Send, repeat(head(103, [("link", "</style.css>; rel=preload")]) * 64))
    if kind == "endless_header":
        begin = head(200, (*headers, EVENTS))[:-2] + b"x-filler: "
        return map(Send, chain([begin], repeat(_BLOCK)))
    begins = {"endless_line": b"data: ", "endless_event": b"", "endless_comment": b": "}
    block = b"data: x\n" * 2048 if kind == "endless_event" else _BLOCK
    body: Iterator[Step] = map(Send, chain([begins[kind]] if begins[kind] else [], repeat(block)))
    return streamed(body, (*headers, EVENTS))
