"""The states of a session, as a table."""

from enum import Enum, auto

from streamnursery.values.session import SessionState


class Signal(Enum):
    """What can happen to a session."""

    OPENED = auto()
    BROKE = auto()
    """The connection ended, and another one may be tried."""
    GAVE_UP = auto()
    CLOSED = auto()
    """By its owner."""


_S = SessionState
TRANSITIONS: dict[tuple[SessionState, Signal], SessionState] = {
    (_S.CONNECTING, Signal.OPENED): _S.OPEN,
    (_S.CONNECTING, Signal.GAVE_UP): _S.LOST,
    (_S.CONNECTING, Signal.CLOSED): _S.CLOSED,
    (_S.OPEN, Signal.BROKE): _S.RECONNECTING,
    (_S.OPEN, Signal.GAVE_UP): _S.LOST,
    (_S.OPEN, Signal.CLOSED): _S.CLOSED,
    (_S.RECONNECTING, Signal.OPENED): _S.OPEN,
    (_S.RECONNECTING, Signal.GAVE_UP): _S.LOST,
    (_S.RECONNECTING, Signal.CLOSED): _S.CLOSED,
}


def next_state(state: SessionState, signal: Signal) -> SessionState:
    """Where `signal` leads; news that come too late lead nowhere."""
    return TRANSITIONS.get((state, signal), state)
