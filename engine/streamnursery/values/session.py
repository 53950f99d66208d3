"""Settings and snapshots of sessions: connections that stay open and speak both ways."""

from collections.abc import Mapping
from enum import Enum
from math import inf
from typing import Any, Literal

import attrs

from streamnursery.values.policy import whole_number

WhenFull = Literal["wait", "refuse", "drop_oldest"]


class SessionState(Enum):
    """Where a session is; LOST and CLOSED are final."""

    CONNECTING = "connecting"
    OPEN = "open"
    RECONNECTING = "reconnecting"
    LOST = "lost"
    CLOSED = "closed"


class SendOutcome(Enum):
    """What became of a message."""

    DELIVERED = "delivered"
    """The other side's WebSocket has it: it answered a ping that was sent behind it."""
    REFUSED = "refused"
    """It was never sent: no room, dropped for a newer one, or the session ended before its turn."""
    UNKNOWN = "unknown"
    """It was sent, and the connection broke before it was confirmed."""


def _seconds(instance: Any, field: "attrs.Attribute[Any]", value: object) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf:
        return
    msg = f"{_place(instance)}.{field.name} must be seconds > 0, not {value!r}"
    raise ValueError(msg)


def _count(instance: Any, field: "attrs.Attribute[Any]", value: object) -> None:
    whole_number(f"{_place(instance)}.{field.name}", value, low=1)


def _place(instance: object) -> str:
    if isinstance(instance, EndpointHeartbeat):
        return "heartbeat"
    name = type(instance).__name__.removesuffix("Settings").lower()
    return "sessions" if name == "session" else f"sessions.{name}"


@attrs.frozen
class Heartbeat:
    """When to ask whether the other side is still there."""

    interval: float = attrs.field(default=30.0, validator=_seconds)
    """Seconds between two pings; the first one comes jittered."""
    timeout: float = attrs.field(default=5.0, validator=_seconds)
    """Seconds within which the pong has to come; otherwise the connection is lost at once."""


@attrs.frozen
class EndpointHeartbeat:
    """When to ask an idle HTTP endpoint whether it answers."""

    interval: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(_seconds)
    )
    """Seconds without any answer from it after which it is asked; None: never."""
    timeout: float = attrs.field(default=5.0, validator=_seconds)
    """Seconds within which the answer has to come."""
    path: str = "/models"
    """What is asked for, below the endpoint's URL."""


@attrs.frozen
class Reconnect:
    """When to connect again, and when to give up."""

    attempts: int = attrs.field(default=5, validator=_count)
    """Attempts in a row without a connection."""
    base: float = attrs.field(default=1.0, validator=_seconds)
    """The wait before the first attempt."""
    factor: float = attrs.field(default=2.0)
    """What each wait is of the one before it."""
    jitter: float = attrs.field(default=0.3)
    """How much longer a wait may be, as a share of it."""
    cap: float = attrs.field(default=30.0, validator=_seconds)
    """The longest wait of our own."""
    retry_after_cap: float = attrs.field(default=120.0, validator=_seconds)
    """The longest wait that a server may ask for; beyond it we give up."""
    max_restarts: int = attrs.field(default=10, validator=_count)
    """Connections that may break within `period` before we give up: a server that accepts and
    hangs up would keep us busy for ever."""
    period: float = attrs.field(default=60.0, validator=_seconds)

    @factor.validator
    def _check_factor(self, _: "attrs.Attribute[Any]", value: object) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 1 <= value < inf:
            msg = f"sessions.reconnect.factor must be a number >= 1, not {value!r}"
            raise ValueError(msg)

    @jitter.validator
    def _check_jitter(self, _: "attrs.Attribute[Any]", value: object) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
            msg = f"sessions.reconnect.jitter must be between 0 and 1, not {value!r}"
            raise ValueError(msg)


@attrs.frozen
class Pending:
    """Messages that wait for a connection, or for the confirmation that they arrived."""

    max_messages: int = attrs.field(default=1000, validator=_count)
    max_bytes: int = attrs.field(default=4 * 1024 * 1024, validator=_count)
    when_full: WhenFull = attrs.field(
        default="wait", validator=attrs.validators.in_(("wait", "refuse", "drop_oldest"))
    )
    """What a new message does when there is no room: wait for it, be refused, or take the place
    of the oldest one that was not sent yet."""


@attrs.frozen
class SessionSettings:
    """How sessions of an engine behave."""

    heartbeat: Heartbeat = attrs.field(factory=Heartbeat)
    reconnect: Reconnect = attrs.field(factory=Reconnect)
    pending: Pending = attrs.field(factory=Pending)
    connect_timeout: float = attrs.field(default=30.0, validator=_seconds)
    """To a usable connection, the WebSocket handshake included."""
    close_timeout: float = attrs.field(default=2.0, validator=_seconds)
    """How long leaving the block may wait for the other side's goodbye."""
    max_message_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=_count)
    """The longest message that is received; a longer one ends the connection."""
    buffer_events: int = attrs.field(default=1024, validator=_count)
    """Events that may wait to be read by `async for`."""
    buffer_bytes: int = attrs.field(default=4 * 1024 * 1024, validator=_count)
    max_buffered_bytes: int = attrs.field(default=32 * 1024 * 1024, validator=_count)
    """Unread bytes of all streams of one session together."""
    max_in_flight: int = attrs.field(default=16, validator=_count)
    """Answers at once on one connection."""
    max_lanes: int = attrs.field(default=32, validator=_count)
    """Lanes (`stream_id`) that one connection may name."""
    max_age: float = attrs.field(default=3600.0, validator=_seconds)
    """Seconds that the server keeps a connection; it is renewed before."""


@attrs.frozen
class SessionStatistics:
    """A snapshot of one session."""

    state: SessionState
    connections: int
    """Made since it began."""
    reconnects: int
    """Connections made because one had broken."""
    renewals: int
    """Connections made because one had grown old."""
    beats: int
    """Pings that were answered."""
    missed_beats: int
    wall_jumps: int
    """Times the wall clock left the monotonic one behind: this machine slept, or was set."""
    round_trip: float | None
    """Seconds of the last answered ping."""
    connected_at: float | None
    """On trio's clock; None while there is no connection."""
    pending_messages: int
    """Accepted and not yet settled."""
    pending_bytes: int
    outcomes: Mapping[str, int]
    """Messages by their outcome."""
    received: int
    """Messages received."""
    buffered_events: int
    """Waiting to be read by `async for`."""
    buffered_bytes: int
    """Of those and of all streams."""
    streams: int
    """Answers under way."""
    lanes: int
    """Lanes that the connection has named."""


@attrs.frozen
class HeartbeatStatistics:
    """What the heartbeat of an HTTP endpoint has found."""

    beats: int
    """Times it was asked; answers to users' requests are not among them."""
    missed: int
    alive: bool | None
    """Whether its last sign was one of life; None: there was none yet."""
    heard_at: float | None
    """When it last answered anybody, on trio's clock."""
    round_trip: float | None
    """Seconds of the last answered beat."""
