"""Keeps a session connected: connects, connects again, renews, and gives up in time.

Rule 1: `core/sessions/reconnect` decides, this file acts, and emits the records.
Rule 2: a connection that grows old is renewed before the server ends it. The new one stands before
        the old one goes; answers under way on the old one may finish there.
Rule 3: giving up is one typed error, which everybody who waits on the session gets.
"""

from collections.abc import Callable
from typing import Protocol

import trio

from streamnursery.core.sessions.reconnect import RETRYABLE_CODES, Restarts, StopReconnecting
from streamnursery.sessions.lanes import TurnLanes
from streamnursery.sessions.link import SessionLink
from streamnursery.supervisor.ports import Recorder
from streamnursery.values.errors import AuthError, ConnectionLostError, EngineError
from streamnursery.values.lifecycle import ConnectionLost, Reconnected, Reconnecting, Record
from streamnursery.values.session import SessionSettings, SessionState

RENEW_AT = 0.9
"""The share of `max_age` after which a connection is renewed, and up to a twentieth later."""
_TRY_AGAIN_AFTER = 30.0
_UNAUTHORIZED = 401


class KeptSession(Protocol):
    """What a keeper needs of its session."""

    number: int
    endpoint: str
    settings: SessionSettings
    recorder: Recorder
    lanes: TurnLanes
    dice: Callable[[], float]

    @property
    def state(self) -> SessionState:
        """CLOSED ends the keeper."""

    def make_link(self) -> SessionLink:
        """A link that was not run yet."""

    def renew_key(self) -> bool:
        """Whether there is a new key, with which the next links are made."""

    def adopt(self, link: SessionLink) -> None:
        """`link` is the connection from now on."""

    def on_connection_lost(self) -> None:
        """There is no connection now."""

    async def wait_confirmed(self, link: SessionLink) -> None:
        """Until every message written on `link` was confirmed, or it ends."""


class Keeper:
    """The supervisor of a session's connections; one task."""

    def __init__(self, session: KeptSession, nursery: trio.Nursery) -> None:
        self._session = session
        self._nursery = nursery
        self._restarts = Restarts(session.settings.reconnect)
        self.connections = 0
        self.reconnects = 0
        self.renewals = 0
        self._broken = False
        self._held: SessionLink | None = None
        self._patience = trio.CancelScope()

    async def run(self) -> None:
        """Until the session is closed or lost.

        Raises:
            EngineError: it is lost.
        """
        while True:
            link = await self._connect()
            error = await self._hold(link)
            if self._session.state is SessionState.CLOSED:
                return
            self._tell_lost(error, permanent=False)
            self._session.on_connection_lost()
            enough = self._restarts.on_connection_lost(trio.current_time())
            if not _may_return(link, error):
                raise error
            if enough is not None:
                raise self._given_up(enough, error)

    async def _connect(self) -> SessionLink:
        """A usable link, in as many attempts as the policy has."""
        error: EngineError | None = None
        renewed = False
        while True:
            if (self._broken or error is not None) and not renewed:
                await self._wait(error)
            link = self._new_link()
            await link.opened.wait()
            if link.usable:
                self._opened(link)
                return link
            error = link.error or ConnectionLostError("the session's connection was ended")
            # Asked again at once, and once: a key file is replaced while the old key ends.
            renewed = not renewed and _is_refused_key(error) and self._session.renew_key()
            if not (error.retryable or renewed):
                raise error

    async def _wait(self, error: EngineError | None) -> None:
        asked = None if error is None else error.retry_after
        step = self._restarts.next_attempt(self._session.dice(), asked)
        if isinstance(step, StopReconnecting):
            raise self._given_up(step, error)
        session = self._session
        attempt, now = self._restarts.attempt, trio.current_time()
        self._tell(Reconnecting(now, session.number, session.endpoint, attempt, step.delay))
        await trio.sleep(step.delay)

    def _opened(self, link: SessionLink) -> None:
        session, attempts = self._session, self._restarts.attempt
        self._restarts.opened()
        if self._broken:
            self.reconnects += 1
            now = trio.current_time()
            self._tell(Reconnected(now, session.number, session.endpoint, attempts))
        self._broken = True
        session.adopt(link)

    async def _hold(self, link: SessionLink) -> EngineError:
        """Until the session's connection breaks; why it did. It is renewed meanwhile."""
        renew_at = self._renewal(link)
        while True:
            self._held = link
            with trio.CancelScope(deadline=renew_at) as self._patience:
                await link.ended.wait()
            if link.ended.is_set():
                return link.error or ConnectionLostError("the session's connection was ended")
            fresh = await self._renew(link)
            link = fresh or link
            renew_at = self._renewal(link) if fresh else trio.current_time() + _TRY_AGAIN_AFTER

    def _renewal(self, link: SessionLink) -> float:
        """When to renew `link`: early enough, and not all sessions at once."""
        max_age = self._session.settings.max_age
        return link.opened_at + max_age * (RENEW_AT + 0.05 * self._session.dice())

    async def _renew(self, old: SessionLink) -> SessionLink | None:
        """Another link in the place of `old`; None if there is none to be had."""
        fresh = self._new_link()
        await fresh.opened.wait()
        if not fresh.usable:
            if _is_refused_key(fresh.error):
                self._session.renew_key()  # for the next try
            return None
        # No message may stand on both: what was written is confirmed before the next is taken.
        old.takes = False
        with trio.move_on_after(self._session.settings.heartbeat.timeout):
            await self._session.wait_confirmed(old)
        if old.outbox.unconfirmed and not old.ended.is_set():
            old.takes = True
            fresh.stop()
            return None
        old.carries = False
        self.renewals += 1
        self._session.adopt(fresh)
        self._nursery.start_soon(self._retire, old)
        return fresh

    async def _retire(self, old: SessionLink) -> None:
        await self._session.lanes.wait_done(old)
        await old.goodbye()

    def _new_link(self) -> SessionLink:
        link = self._session.make_link()
        self.connections += 1
        self._nursery.start_soon(link.run)
        return link

    def gave_up(self, error: EngineError) -> None:
        self._tell_lost(error, permanent=True)

    def renew_now(self, link: SessionLink) -> None:
        """Do not wait for the date: `link` has no future."""
        if self._held is link:
            self._patience.deadline = trio.current_time()

    def _tell_lost(self, error: EngineError, *, permanent: bool) -> None:
        session, now = self._session, trio.current_time()
        why = error.category
        self._tell(ConnectionLost(now, session.number, session.endpoint, permanent, why))

    def _given_up(self, enough: StopReconnecting, error: EngineError | None) -> EngineError:
        lost = ConnectionLostError(
            f"session with {self._session.endpoint}: {enough.why}; given up",
            retryable=False,
            status=None if error is None else error.status,
            retry_after=None if error is None else error.retry_after,
        )
        lost.__cause__ = error
        return lost

    def _tell(self, record: Record) -> None:
        self._session.recorder.emit(record)


def _may_return(link: SessionLink, error: EngineError) -> bool:
    """Whether another connection could fare better than the one that ended."""
    if link.ending is None:
        return error.retryable
    return link.ending.code in RETRYABLE_CODES or link.worn_out


def _is_refused_key(error: EngineError | None) -> bool:
    return isinstance(error, AuthError) and error.status == _UNAUTHORIZED
