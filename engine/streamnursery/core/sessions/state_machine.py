"""The states of a session, as a table."""

from enum import Enum, auto

from streamnursery.values.session import SessionState


class SessionSignal(Enum):
    """What can happen to a session."""

    OPENED = auto()
    BROKE = auto()
    """The connection ended, and another one may be tried."""
    GAVE_UP = auto()
    CLOSED = auto()
    """By its owner."""


_S = SessionState
TRANSITIONS: dict[tuple[SessionState, SessionSignal], SessionState] = {
    (_S.CONNECTING, SessionSignal.OPENED): _S.OPEN,
    (_S.CONNECTING, SessionSignal.GAVE_UP): _S.LOST,
    (_S.CONNECTING, SessionSignal.CLOSED): _S.CLOSED,
    (_S.OPEN, SessionSignal.BROKE): _S.RECONNECTING,
    (_S.OPEN, SessionSignal.GAVE_UP): _S.LOST,
    (_S.OPEN, SessionSignal.CLOSED): _S.CLOSED,
    (_S.RECONNECTING, SessionSignal.OPENED): _S.OPEN,
    (_S.RECONNECTING, SessionSignal.GAVE_UP): _S.LOST,
    (_S.RECONNECTING, SessionSignal.CLOSED): _S.CLOSED,
}


def next_state(state: SessionState, signal: SessionSignal) -> SessionState:
    """Where `signal` leads; news that come too late lead nowhere."""
    return TRANSITIONS.get((state, signal), state)
