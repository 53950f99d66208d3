"""The faults that only HTTP/2 has; over HTTP/1.1 nothing of them happens."""

import attrs

from streamnursery.simulator import field_checks
from streamnursery.simulator.fault import Fault
from streamnursery.simulator.field_checks import of

ERROR_CODES = {
    "NO_ERROR": 0,
    "PROTOCOL_ERROR": 1,
    "INTERNAL_ERROR": 2,
    "FLOW_CONTROL_ERROR": 3,
    "STREAM_CLOSED": 5,
    "REFUSED_STREAM": 7,
    "CANCEL": 8,
    "ENHANCE_YOUR_CALM": 11,
    "HTTP_1_1_REQUIRED": 13,
}
"""RFC 9113 7."""


@attrs.frozen
class ResetStream(Fault):
    """Reset the stream with `code`, in place of an answer or, with `at`, as `Reset` does."""

    code: str = of(field_checks.one_of(*ERROR_CODES), "INTERNAL_ERROR")
    at: int | None = of(field_checks.or_none(field_checks.count), None)


@attrs.frozen
class Goaway(Fault):
    """Send GOAWAY before the answer. Streams up to `last_id`, by default this one, are answered
    to their end, later ones are not looked at; then the connection ends."""

    last_id: int | None = of(field_checks.or_none(field_checks.count), None)
    code: str = of(field_checks.one_of(*ERROR_CODES), "NO_ERROR")


@attrs.frozen
class Settings(Fault):
    """Change the settings of the connection when the request arrives: streams that the client may
    have open at once, and bytes of a request's body that it may send ahead."""

    max_streams: int | None = of(field_checks.or_none(field_checks.count), None)
    window: int | None = of(field_checks.or_none(field_checks.count), None)


@attrs.frozen
class WindowStall(Fault):
    """Take no more of the request's body than the first window. Where `CutUpload` works."""


@attrs.frozen
class PingSilence(Fault):
    """From now on the connection says nothing more, not even to a PING."""
