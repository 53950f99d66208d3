"""Heartbeats of HTTP endpoints: one task each, asking only endpoints that no request uses.

Rule 1: a beat is not traffic: no slot, no record of an attempt, no budget, no meter.
Rule 2: what it finds goes to the breakers of the endpoint's routes. An answer is a sign of life
        whatever it says, unless it says that the server has failed.
"""

from collections.abc import Mapping

import trio

from streamnursery.core.recovery.endpoint_pulse import EndpointPulse
from streamnursery.core.recovery.patience import LATE
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.supervisor.supervisor import Supervisor
from streamnursery.transport.ports import Phase, Unhurried
from streamnursery.values.errors import (
    ConnectTimeoutError,
    EngineError,
    FirstByteTimeoutError,
    NetworkError,
    PatienceError,
    ProtocolError,
    RateLimitedError,
    RedirectRefusedError,
    ServerError,
)
from streamnursery.values.lifecycle import (
    AttemptEnded,
    AttemptStarted,
    EndpointBeat,
    LifecycleRecord,
)
from streamnursery.values.session import HeartbeatStatistics
from streamnursery.wire.error_answers import scrub_error

_MAX_ANSWER = 64 * 1024


class Heartbeats:
    """Those of an engine's endpoints that want one."""

    def __init__(self, outlets: Mapping[str, Outlet], supervisor: Supervisor) -> None:
        self._outlets = outlets
        self._routes = supervisor.routes
        self._wall = supervisor.wall
        self._dice = supervisor.dice.random
        self._recorder = supervisor.recorder
        self._silent: set[str] = set()
        """Endpoints whose last beat has failed."""
        now = trio.current_time()
        self._pulses = {
            name: EndpointPulse(outlet.endpoint.heartbeat, now, self._dice())
            for name, outlet in outlets.items()
            if outlet.endpoint.heartbeat.interval is not None
        }

    def __bool__(self) -> bool:
        return bool(self._pulses)

    def start(self, nursery: trio.Nursery) -> None:
        for name in self._pulses:
            nursery.start_soon(self._beat_forever, name, name=f"heartbeat of {name}")

    def statistics(self) -> dict[str, HeartbeatStatistics]:
        return {name: pulse.statistics() for name, pulse in self._pulses.items()}

    def observe(self, record: LifecycleRecord) -> None:
        """What users' requests show of the endpoints."""
        if isinstance(record, AttemptStarted):
            pulse = self._pulses.get(record.route.partition("/")[0])
            if pulse is not None:
                pulse.began()
        elif isinstance(record, AttemptEnded):
            attempt = record.record
            pulse = self._pulses.get(attempt.route.partition("/")[0])
            if pulse is not None:
                silent = isinstance(attempt.error, NetworkError | PatienceError)
                pulse.ended(trio.current_time(), self._dice(), answered=not silent)

    async def _beat_forever(self, name: str) -> None:
        pulse = self._pulses[name]
        while True:
            await trio.sleep_until(pulse.due_at)
            now = trio.current_time()
            if now < pulse.due_at:
                continue
            if pulse.busy:
                pulse.put_off(now, self._dice())
                continue
            error = await self._ask(self._outlets[name], pulse.timeout)
            ended = trio.current_time()
            if error is not None and ended > now + pulse.timeout + LATE:
                continue  # the process stood still meanwhile and could not look, so ask again
            self._tell(name, error, ended)
            until = pulse.on_heartbeat(now, ended, self._dice(), alive=error is None)
            self._routes.on_heartbeat(name, error, ended, until + pulse.timeout)

    def _tell(self, name: str, error: EngineError | None, now: float) -> None:
        """Of the first beat that fails, and of the first that is answered after that."""
        if (error is None) is (name not in self._silent):
            return
        self._silent ^= {name}
        why = "" if error is None else f"{type(error).__name__}: {error}"
        self._recorder.emit(EndpointBeat(now, 0, name, error is None, why))

    async def _ask(self, outlet: Outlet, patience: float) -> EngineError | None:
        """None: it lives."""
        progress = _Progress()
        error: EngineError | None = None
        if outlet.token is not None:
            try:
                await outlet.take_token()
            except EngineError as caught:
                return caught
        with trio.move_on_after(patience) as scope:
            try:
                response = await outlet.transport.open(outlet.heartbeat(), progress)
                try:
                    body = bytearray()
                    while len(body) < _MAX_ANSWER and (data := await response.receive_some()):
                        body += data
                    if response.head.status >= 400:
                        error = outlet.dialect.error_from_answer(
                            response.head, bytes(body), now=self._wall()
                        )
                finally:
                    response.close()
            except EngineError as caught:
                error = caught
        if error is not None:
            scrub_error(error, outlet.secrets())
        if scope.cancelled_caught:
            kind = FirstByteTimeoutError if progress.connected else ConnectTimeoutError
            msg = f"{outlet.endpoint.name}: no answer to a heartbeat within {patience:g} s"
            return kind(msg)
        return error if _is_dead(error) else None


class _Progress(Unhurried):
    """How far a beat has come."""

    def __init__(self) -> None:
        self.connected = False

    def enter(self, phase: Phase) -> None:
        self.connected = phase is not Phase.CONNECTING


def _is_dead(error: EngineError | None) -> bool:
    if isinstance(error, RedirectRefusedError | RateLimitedError):
        return False
    return isinstance(error, NetworkError | ServerError | ProtocolError)
