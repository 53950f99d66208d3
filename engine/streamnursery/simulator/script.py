"""The fault grammar: what a simulated provider does wrong, as values.

Rule 1: a `Script` is a sequence of faults for one request. They work together where they can;
        of two that answer in place of the stream, the first counts.
Rule 2: `at` counts tokens: content, reasoning, refusal and tool deltas, over all choices, that
        were sent before. At 0 the head and the role chunk have gone out and no content. An `at`
        beyond the last token does nothing; at the last one plus one it comes before the finish.
Rule 3: seconds are floats on trio's clock; None where it is allowed means for ever.
Rule 4: faults of the network come before any request is known, so only a `Plan` may hold them.

`plan` says which request gets which script; `grammar` reads and writes the text forms:

    [{"cut": 3}, "crlf"]      {"stall": {"at": 2, "seconds": 30}}      sim/fast?cut=3&crlf=1
"""

from typing import Any, TypeAlias

import attrs

from streamnursery.simulator import field_checks
from streamnursery.simulator.fault import Fault, NetworkFault
from streamnursery.simulator.field_checks import of
from streamnursery.simulator.script_http2 import (
    Goaway,
    PingSilence,
    ResetStream,
    Settings,
    WindowStall,
)

# What the model says. -----------------------------------------------------------------------


@attrs.frozen
class Respond(Fault):
    """Answer with `text`, or with `tokens` tokens of the usual text."""

    tokens: int | None = of(field_checks.or_none(field_checks.count), None)
    text: str | None = of(field_checks.or_none(field_checks.text), None)
    finish: str = of(field_checks.text, "stop")


@attrs.frozen
class Reasoning(Fault):
    """Send `n` reasoning tokens before the text; they count as output."""

    n: int = of(field_checks.positive, 16)
    field: str = of(field_checks.one_of("reasoning_content", "reasoning"), "reasoning_content")


@attrs.frozen
class CallTool(Fault):
    """Call a tool in place of text: `function`, or the first one the request offers.

    `arguments` is the JSON text, made from the tool's schema by default; it is sent in pieces
    of `fragment` characters, each of which counts as a token, as does the opening delta.
    """

    function: str | None = of(field_checks.or_none(field_checks.text), None)
    arguments: str | None = of(field_checks.or_none(field_checks.text), None)
    fragment: int = of(field_checks.positive, 8)


@attrs.frozen
class Refuse(Fault):
    """Send the text as refusal deltas."""


@attrs.frozen
class Restate(Fault):
    """When asked to go on with a text, repeat its last `n` words first; None: all of them."""

    n: int | None = of(field_checks.or_none(field_checks.positive), None)


# Time. --------------------------------------------------------------------------------------


@attrs.frozen
class Delay(Fault):
    """Fixed times from the request's end to the head and to the first token."""

    first_token: float | None = of(field_checks.or_none(field_checks.seconds), None)
    first_byte: float | None = of(field_checks.or_none(field_checks.seconds), None)


@attrs.frozen
class Stall(Fault):
    """Send nothing for `seconds`; with `pings`, a comment every so many seconds."""

    at: int = of(field_checks.count)
    seconds: float | None = of(field_checks.or_none(field_checks.seconds), None)
    pings: float | None = of(field_checks.or_none(field_checks.seconds), None)


@attrs.frozen
class Drip(Fault):
    """Send the body `bytes` at a time, one piece every `every` seconds."""

    bytes: int = of(field_checks.positive, 1)
    every: float = of(field_checks.seconds, 0.01)


@attrs.frozen
class HangAfterDone(Fault):
    """Keep the answer open after the end mark: the last HTTP chunk comes `seconds` late."""

    seconds: float | None = of(field_checks.or_none(field_checks.seconds), None)


@attrs.frozen
class CloseIdle(NetworkFault):
    """Close the connection with FIN once it is idle for `after` seconds. As part of a request's
    script it takes effect with the end of its answer; the answer does not announce it."""

    after: float = of(field_checks.seconds, 0.0)


# How it is broken off. ------------------------------------------------------------------------


@attrs.frozen
class Cut(Fault):
    """End the answer early, in FIN or, with `how="end"`, as a complete HTTP message.

    With `unit="bytes"`, `at` counts bytes of the answer from its status line; then it is
    always FIN, and any answer can be cut.
    """

    at: int = of(field_checks.count)
    how: str = of(field_checks.one_of("fin", "end"), "fin")
    unit: str = of(field_checks.one_of("tokens", "bytes"), "tokens")


@attrs.frozen
class Reset(Fault):
    """Break off with RST; units as for `Cut`. Bytes not yet read are lost on the way."""

    at: int = of(field_checks.count)
    unit: str = of(field_checks.one_of("tokens", "bytes"), "tokens")


@attrs.frozen
class CutUpload(Fault):
    """RST once `after` bytes of the request's body were read. Only in the request's header or
    in a rule without `model`: the model is not known by then."""

    after: int = of(field_checks.count, 0)


@attrs.frozen
class InStreamError(Fault):
    """An error object in place of token `at`, inside the 200 answer, and then the end.

    `shape="openrouter"` puts it beside a choice with `finish_reason: "error"`. `done` sends
    the end mark after it, as vLLM does.
    """

    at: int = of(field_checks.count, 0)
    code: str | int | None = attrs.field(default="server_error")
    message: str = of(field_checks.text, "The server had an error while processing your request.")
    type: str = of(field_checks.text, "server_error")
    shape: str = of(field_checks.one_of("openai", "openrouter"), "openai")
    done: bool = of(field_checks.flag, False)


# What is wrong in the bytes. ------------------------------------------------------------------


@attrs.frozen
class Split(Fault):
    """Cut the body into network segments of these sizes in bytes, over and over."""

    sizes: tuple[int, ...] = of(field_checks.numbers, many=True)


@attrs.frozen
class Comments(Fault):
    """`n` comment lines before every event."""

    n: int = of(field_checks.positive, 1)


@attrs.frozen
class Crlf(Fault):
    """End lines of the event stream with CR LF."""


@attrs.frozen
class BadJson(Fault):
    """The event of token `at` breaks off in the middle of its JSON."""

    at: int = of(field_checks.count, 0)


@attrs.frozen
class BadUtf8(Fault):
    """The event of token `at` holds half a character."""

    at: int = of(field_checks.count, 0)


@attrs.frozen
class NoEndMark(Fault):
    """No `[DONE]`."""


@attrs.frozen
class NoFinish(Fault):
    """No finish_reason."""


@attrs.frozen
class NoUsage(Fault):
    """No usage, though it was asked for."""


@attrs.frozen
class UsageLie(Fault):
    """`usage` in place of the true one, asked for or not. A text is sent as it stands, so that
    it may hold numbers no JSON writer makes."""

    usage: Any = attrs.field()


@attrs.frozen
class CloseDelimited(Fault):
    """No HTTP chunks: the connection's end is the body's end. Then a `Cut` looks clean."""


GARBAGE = (
    "html",
    "json",
    "json_error",
    "empty",
    "no_content",
    "gzip",
    "plain",
    "untyped",
    "not_http",
    "endless_line",
    "endless_event",
    "endless_comment",
    "endless_header",
    "endless_informational",
    "long_header",
    "many_headers",
)


@attrs.frozen
class Garbage(Fault):
    """An answer that is not an event stream, or hardly.

    `html`, `json`, `json_error`, `empty`: status 200 and that for a body; `no_content`: 204;
    `gzip`: the stream, encoded without being asked; `plain`, `untyped`: the stream with
    Content-Type text/plain or none; `not_http`: no HTTP at all; `long_header`: one of 64 KiB;
    `many_headers`: 1,000; what is endless goes on as fast as it is read.
    """

    kind: str = of(field_checks.one_of(*GARBAGE), "html")


SOCKET = ("close", "drop", "silence", "no_pong", "no_lanes", "duplicate")


@attrs.frozen
class Socket(Fault):
    """What goes wrong on a WebSocket; anywhere else nothing does.

    `close`: a close frame with `code` and `reason`; `drop`: FIN without one; `silence`: nothing is
    read or sent any more; `no_pong`: pings are not answered; `no_lanes`: events do not say which
    lane they belong to; `duplicate`: the event of token `at` comes twice. The first four happen
    `after` seconds of a connection, or before token `at` of an answer.
    """

    kind: str = of(field_checks.one_of(*SOCKET), "close")
    after: float | None = of(field_checks.or_none(field_checks.seconds), None)
    at: int | None = of(field_checks.or_none(field_checks.count), None)
    code: int = of(field_checks.close_code, 1011)
    reason: str = of(field_checks.text, "")


# Answers in place of the stream. --------------------------------------------------------------


@attrs.frozen
class Status(Fault):
    """Answer with an error status.

    `retry_after` is sent as it stands. A `body` that is text goes out as text/html, one that
    is an object as JSON; by default an error in OpenAI's shape. `early` answers before the body
    of the request is read and closes; it works where `CutUpload` does.
    """

    code: int = of(field_checks.status)
    retry_after: str | float | None = of(field_checks.or_none(field_checks.header_value), None)
    error: str | None = of(field_checks.or_none(field_checks.text), None)
    """The error object's own code, such as "insufficient_quota"."""
    body: Any = attrs.field(default=None)
    headers: tuple[tuple[str, str], ...] = of(field_checks.headers, (), many=True)
    early: bool = of(field_checks.flag, False)


@attrs.frozen
class Redirect(Fault):
    """Redirect to `location`."""

    location: str = of(field_checks.header_text)
    status: int = of(field_checks.status, 307)


@attrs.frozen
class RateLimit(Fault):
    """Requests and tokens per minute, as buckets that refill steadily; beyond them 429 with
    Retry-After. Requests with an equal RateLimit and model share one pair of buckets."""

    rpm: int | None = of(field_checks.or_none(field_checks.positive), None)
    tpm: int | None = of(field_checks.or_none(field_checks.positive), None)


@attrs.frozen
class Overload(Fault):
    """Answer 503 while more than `beyond` requests to the model are in progress."""

    beyond: int = of(field_checks.count)
    retry_after: float | None = of(field_checks.or_none(field_checks.seconds), None)


# The network. ---------------------------------------------------------------------------------


@attrs.frozen
class ResolveFail(NetworkFault):
    """The name does not resolve. Not on loopback, where nothing asks us."""


@attrs.frozen
class RefuseConnect(NetworkFault):
    """The connection is refused; on loopback it is reset at once. `address`: only the host's
    address of that index."""

    address: int | None = of(field_checks.or_none(field_checks.count), None)


@attrs.frozen
class BlackHole(NetworkFault):
    """Connecting never ends; on loopback the connection is never served. `address` as above."""

    address: int | None = of(field_checks.or_none(field_checks.count), None)


@attrs.frozen
class SlowTls(NetworkFault):
    """The TLS handshake begins `seconds` late. Without TLS the first answer does."""

    seconds: float | None = of(field_checks.or_none(field_checks.seconds), None)


Script: TypeAlias = tuple[Fault, ...]
"""What one request meets."""

_ALL: tuple[type[Fault], ...] = (
    *(Respond, Reasoning, CallTool, Refuse, Restate),
    *(Delay, Stall, Drip, HangAfterDone, CloseIdle),
    *(Cut, Reset, CutUpload, InStreamError),
    *(Split, Comments, Crlf, BadJson, BadUtf8, NoEndMark, NoFinish, NoUsage, UsageLie),
    *(CloseDelimited, Garbage, Socket),
    *(ResetStream, Goaway, Settings, WindowStall, PingSilence),
    *(Status, Redirect, RateLimit, Overload),
    *(ResolveFail, RefuseConnect, BlackHole, SlowTls),
)
FAULTS = {kind.name: kind for kind in _ALL}
"""Every fault by its name in the text forms."""
