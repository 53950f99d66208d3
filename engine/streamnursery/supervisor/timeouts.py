"""The error of a provider clock that has struck."""

from streamnursery.core.recovery.patience import Clock, PatienceClock
from streamnursery.values.errors import (
    ConnectTimeoutError,
    FirstByteTimeoutError,
    FirstTokenTimeoutError,
    IdleTimeoutError,
    PatienceError,
    TotalTimeoutError,
)
from streamnursery.values.settings import Route

_TIMEOUTS: dict[Clock, tuple[type[PatienceError], str]] = {
    Clock.CONNECT: (ConnectTimeoutError, "no connection"),
    Clock.FIRST_BYTE: (FirstByteTimeoutError, "no response head"),
    Clock.FIRST_TOKEN: (FirstTokenTimeoutError, "no first token"),
    Clock.IDLE: (IdleTimeoutError, "no further content"),
    Clock.PACE: (IdleTimeoutError, "too few tokens"),
    Clock.TOTAL: (TotalTimeoutError, "no end of the answer"),
}


def timed_out(route: Route, clocks: PatienceClock, struck: Clock) -> PatienceError:
    """What ends an attempt at `route` of whose clocks `struck` has run out."""
    kind, what = _TIMEOUTS[struck]
    limit = f"{struck.value} = {clocks.length(struck):g} s"
    if struck is Clock.FIRST_TOKEN and clocks.reasoning:
        limit = f"first_token_reasoning = {clocks.length(struck):g} s"
    elif struck is Clock.PACE:
        patience = clocks.patience
        limit = f"pace_window = {patience.pace_window:g} s"
        what = f"fewer than {patience.min_tokens_per_second:g} tokens a second"
    return kind(f"{route}: {what} within patience.{limit}")
