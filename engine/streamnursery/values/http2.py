"""What HTTP/2 connections may take, and when they are asked for a sign of life."""

from math import inf

import attrs

from streamnursery.values.policy import whole_number

MIN_WINDOW = 64 * 1024
MAX_WINDOW = 256 * 1024
MAX_STREAMS = 4096
"""With the largest stream window a connection's still fits into 31 bits."""


def _count(_: object, field: "attrs.Attribute[int]", value: object) -> None:
    whole_number(f"http2.{field.name}", value, low=1)


def _window(_: object, field: "attrs.Attribute[int]", value: int) -> None:
    whole_number(f"http2.{field.name}", value, low=MIN_WINDOW)
    if value > MAX_WINDOW:
        msg = f"http2.{field.name} must be at most {MAX_WINDOW:,}, not {value!r}"
        raise ValueError(msg)


def _streams(_: object, field: "attrs.Attribute[int]", value: int) -> None:
    whole_number(f"http2.{field.name}", value, low=1)
    if value > MAX_STREAMS:
        msg = f"http2.{field.name} must be at most {MAX_STREAMS:,}, not {value!r}"
        raise ValueError(msg)


def _seconds(_: object, field: "attrs.Attribute[float]", value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < inf:
        msg = f"http2.{field.name} must be seconds > 0, not {value!r}"
        raise ValueError(msg)


@attrs.frozen
class Http2Settings:
    """For every connection of an engine or a transport."""

    stream_window: int = attrs.field(default=128 * 1024, validator=_window)
    """Bytes of one stream that may be on the way or unread, 64 to 256 KiB. A connection takes
    as many times `max_streams`, so that no stream can use up what the others need."""
    max_streams: int = attrs.field(default=128, validator=_streams)
    """Streams at once on one connection; the server may allow fewer."""
    max_connections: int = attrs.field(default=16, validator=_count)
    """Connections per peer that take new streams; beyond them requests wait, within
    `patience.connect`."""
    ping_after: float = attrs.field(default=30.0, validator=_seconds)
    """Seconds of silence after which the peer is asked for a sign of life."""
    ping_timeout: float = attrs.field(default=5.0, validator=_seconds)
    """Seconds that it has to give one; then the connection is lost."""
    idle: float = attrs.field(default=60.0, validator=_seconds)
    """Seconds that a connection without streams is kept."""
