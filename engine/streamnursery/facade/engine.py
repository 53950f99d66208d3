"""The public verbs.

Start reading at `Engine.stream`; the work is done in `scheduler` and `supervisor`.
"""

from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
)
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

import attrs
import trio

from streamnursery.core.routing.route_plan import RoutePlan
from streamnursery.facade.assembly import (
    Outside,
    admission_of,
    choice_of,
    outlet_of,
    spending_of,
)
from streamnursery.facade.bounds import buffer_bound, check_policy
from streamnursery.facade.choosing import Choosing
from streamnursery.facade.held_back import HeldBack
from streamnursery.facade.limits import LimitVerbs
from streamnursery.facade.own_calls import OwnCalls
from streamnursery.facade.own_streams import OwnStreams
from streamnursery.facade.relaying import Relaying
from streamnursery.pipeline.channel import BufferTotal
from streamnursery.pipeline.delivery import DrainBounds
from streamnursery.pipeline.merge import MergedEvents
from streamnursery.pipeline.stream import TokenStream
from streamnursery.scheduler.run import bulk
from streamnursery.scheduler.run.calls import Calls, call_deadline
from streamnursery.scheduler.run.catalogue import SIMULATOR, SIMULATOR_ENDPOINT, Catalogue
from streamnursery.scheduler.run.dispatcher import Dispatcher
from streamnursery.scheduler.run.figures import engine_statistics
from streamnursery.scheduler.run.heartbeats import Heartbeats
from streamnursery.scheduler.run.observers import DropPolicy, Observers, RecordStream
from streamnursery.supervisor.supervisor import Supervisor
from streamnursery.transport.client import HttpTransport
from streamnursery.transport.connect import Connector
from streamnursery.values.completion import Completion, Outcome
from streamnursery.values.errors import ConfigError, EngineError
from streamnursery.values.keys import with_keys
from streamnursery.values.policy import Priority, PriorityName, WhenBehind
from streamnursery.values.request import ChatRequest
from streamnursery.values.request_fields import (
    CallOptions,
    Prompt,
    StreamFields,
    UntypedOptions,
)
from streamnursery.values.session import SessionSettings
from streamnursery.values.settings import Endpoint, EngineConfig
from streamnursery.values.statistics import EngineStatistics
from streamnursery.values.task import TaskProfile
from streamnursery.wire.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from streamnursery.sessions import Session, Sessions

P = TypeVar("P")


@attrs.frozen
class DrainReport:
    """What a drain did."""

    finished: bool
    """True when everything ended by itself in time."""
    cancelled: int
    """Streams and calls that had to be cancelled."""


class Engine(Choosing, LimitVerbs, OwnCalls, OwnStreams, Relaying):
    """Runs streams. Made by `open_engine`; usable inside its block."""

    def __init__(self, nursery: trio.Nursery, config: EngineConfig, outside: Outside) -> None:
        self._config = config = with_keys(config)
        self._outside = outside
        self._nursery = nursery
        self._opened_at = trio.current_time()
        transport = outside.transport(config, nursery)
        self._transports = [transport]
        self._buffers = BufferTotal(config.max_buffered_bytes)
        self._admission = admission_of(config)
        self._catalogue = Catalogue(config, outside.dice.random)
        self._held_back = HeldBack(self._admission, lambda model: self._catalogue.name(model))
        self._outlets = {
            name: outlet_of(endpoint, outside.dialects, transport)
            for name, endpoint in config.endpoints.items()
        }
        self._observers = Observers(outside.observers, wall=outside.wall)
        self._spending = spending_of(config, outside, self._catalogue.meter, self._observers)
        self._admission.on_refused = self._observers.not_admitted
        self._supervisor = Supervisor(
            self._admission,
            self._spending,
            self._outlets,
            self._catalogue.meter,
            self._observers,
            outside.wall,
            outside.dice,
        )
        self._choice = choice_of(config, outside, self._catalogue, self._spending, self._supervisor)
        self._hear()
        self._dispatcher = Dispatcher(
            nursery,
            self._supervisor,
            self._admission,
            self._buffers,
            self._observers,
            DrainBounds(config.max_drain_seconds, config.max_drain_bytes),
        )
        self._calls = Calls(self._admission, self._spending)
        self._heartbeats = Heartbeats(dict(self._outlets), self._supervisor)
        if self._heartbeats:
            self._observers.add(self._heartbeats.observe)
            self._heartbeats.start(nursery)
        self._sessions: Sessions | None = None
        """Made with the first session."""

    @property
    def config(self) -> EngineConfig:
        return self._config

    def stream(
        self,
        model: str | ChatRequest | TaskProfile | None = None,
        prompt: Prompt | None = None,
        *,
        deadline: float | None = None,
        timeout: float | None = None,
        priority: Priority | PriorityName | None = None,
        buffer_events: int | None = None,
        buffer_bytes: int | None = None,
        when_behind: WhenBehind = "block",
        **fields: Unpack[StreamFields],
    ) -> AbstractAsyncContextManager[TokenStream]:
        """Stream one answer: `async with eng.stream("gpt-4.1", "Hi") as stream:`.

        `prompt` is text or a sequence of messages; `fields` are those of `ChatRequest`. Without a
        model it is that of `defaults.model`. A
        `TaskProfile`, or the model "auto", leaves the choice of the model to the engine.
        `deadline` is absolute on trio's clock, `timeout` the same from now in seconds; the
        earlier of them and the caller's own deadline counts, to the last event delivered.

        `when_behind` says what becomes of unread events at the buffer's bound: "block" holds the
        provider back, "drop_oldest" drops content, "coalesce" joins text deltas as soon as one
        waits unread. `completion()` has the whole answer all the same.

        Entering the block does not wait for a slot. Everything but the errors below is raised
        by reading: iteration, `text()`, `completion()`. Leaving the block ends the stream.

        Raises:
            RequestError, ConfigError: the request or its model cannot be used.
            EngineClosedError: the engine is closed or draining.
        """
        if when_behind != "block":
            check_policy(when_behind)
        own: dict[str, Any] = {**fields}
        if priority is not None:
            own["priority"] = priority
        request, decision = self._requested(model, prompt, own)
        self._admission.check_open()
        rank = self._admission.next_rank(request.priority or Priority.INTERACTIVE)
        course = self._catalogue.course(request, rank)
        self._find_simulator(course.plan)
        if decision is not None:
            self._tell(decision, course)
        limit = inf
        if deadline is not None or timeout is not None:
            limit = call_deadline(deadline, timeout)
        return self._dispatcher.stream(
            request,
            course,
            deadline=limit,
            buffer_events=self._config.buffer_events
            if buffer_events is None
            else buffer_bound("buffer_events", buffer_events, self._config.buffer_events),
            buffer_bytes=self._config.buffer_bytes
            if buffer_bytes is None
            else buffer_bound("buffer_bytes", buffer_bytes, self._config.buffer_bytes),
            when_behind=when_behind,
        )

    @overload
    async def complete(
        self,
        model: str | ChatRequest | TaskProfile | None = None,
        prompt: Prompt | None = None,
        *,
        response_format: type[P],
        **options: Unpack[UntypedOptions],
    ) -> Completion[P]: ...

    @overload
    async def complete(
        self,
        model: str | ChatRequest | TaskProfile | None = None,
        prompt: Prompt | None = None,
        **options: Unpack[CallOptions],
    ) -> Completion: ...

    async def complete(
        self,
        model: str | ChatRequest | TaskProfile | None = None,
        prompt: Prompt | None = None,
        **options: Unpack[CallOptions],
    ) -> Completion[Any]:
        """The whole answer; takes what `stream` takes.

        Raises:
            EngineError: what ended the stream, with the partial.
        """
        try:
            block = self.stream(model, prompt, **options)
        except EngineError:
            await trio.lowlevel.checkpoint()
            raise
        async with block as stream:
            return await stream.completion()

    async def settle(
        self, requests: bulk.Requests, *, max_in_flight: int | None = None
    ) -> list[Outcome]:
        """Run all `requests`, failures included; outcomes in the order of the source. They are
        `ChatRequest` values, and `Call`s of your own functions."""
        answers = self._held_back.completing(self._answers, max_in_flight)
        return await bulk.settle(answers, requests, self._in_flight(max_in_flight))

    def as_completed(
        self, requests: bulk.Requests, *, max_in_flight: int | None = None
    ) -> AbstractAsyncContextManager[bulk.Outcomes]:
        """Outcomes as they finish, from a source of any length that is pulled on demand.

        At most `max_in_flight` requests (by default the global limit) have been taken from the
        source and not yet been handed out. They are `ChatRequest` values, and `Call`s of your own
        functions.
        """
        answers = self._held_back.completing(self._answers, max_in_flight)
        return bulk.as_completed(answers, requests, self._in_flight(max_in_flight))

    def merge(
        self, requests: bulk.ChatRequests, *, max_in_flight: int | None = None
    ) -> AbstractAsyncContextManager[MergedEvents]:
        """`(index, event)` of many streams at once; each ends with `Finished` or `Failed`."""
        stream = self._held_back.streaming(self.stream, max_in_flight)
        return bulk.merge(stream, requests, self._in_flight(max_in_flight))

    def session(
        self,
        endpoint: str,
        *,
        path: str | None = None,
        settings: SessionSettings | None = None,
        heartbeat: "Callable[[Session], Awaitable[object]] | None" = None,
    ) -> "AbstractAsyncContextManager[Session]":
        """A WebSocket that is kept: `async with eng.session("openai") as session:`.

        `path` is the whole path on the endpoint's server, query included; None takes the base
        URL's own and `/responses`. `settings` replaces what the configuration says of sessions.
        `heartbeat` is called with each beat; taking longer than its timeout counts as a missed one.

        Entering the block does not wait for the connection: sending, streaming and iterating do.

        Raises:
            ConfigError: no such endpoint, no key for it, or trio-websocket is not installed.
            EngineClosedError: the engine is closed or draining.
        """
        if self._sessions is None:
            self._sessions = self._make_sessions()
        return self._sessions.open(endpoint, path=path, settings=settings, heartbeat=heartbeat)

    def statistics(self) -> EngineStatistics:
        """A snapshot of what the engine holds and has measured."""
        return engine_statistics(
            admission=self._admission,
            meters=self._catalogue.meters,
            gates=self._supervisor.routes.gates,
            transports=self._transports,
            buffers=self._buffers,
            streams=len(self._dispatcher.live),
            sessions=0 if self._sessions is None else len(self._sessions.live),
            session_connections=0 if self._sessions is None else self._sessions.connections,
            heartbeats=self._heartbeats.statistics(),
            opened_at=self._opened_at,
        )

    def events(
        self, *, max_records: int = 1000, drop: DropPolicy = "oldest"
    ) -> AbstractContextManager[RecordStream]:
        """Lifecycle records of all requests: `with eng.events() as records: async for r in ...`.

        A full channel drops the oldest or the newest record and counts it in `dropped`.
        """
        return self._observers.listen(max_records, drop)

    async def drain(self, timeout: float | None = None) -> DrainReport:
        """Take nothing new, let what runs and waits finish, cancel the rest after `timeout`."""
        await trio.lowlevel.checkpoint()
        deadline = call_deadline(None, timeout)
        self._admission.close("the engine is draining and takes nothing new", waiting_too=False)
        with trio.CancelScope(deadline=deadline) as scope:
            await self._wait_idle()
        if not scope.cancelled_caught:
            return DrainReport(finished=True, cancelled=0)
        cancelled = self._cancel_all("the engine was drained and the time for it ran out")
        await self._wait_idle()
        return DrainReport(finished=False, cancelled=cancelled)

    def cancel_all(self) -> int:
        """End every stream and call with `StreamCancelledError`; how many there were."""
        return self._cancel_all("ended by cancel_all()")

    def _cancel_all(self, why: str) -> int:
        return self._dispatcher.cancel_all(why) + self._calls.cancel_all(why)

    async def _wait_idle(self) -> None:
        await self._dispatcher.wait_idle()
        await self._admission.wait_idle()

    def _in_flight(self, max_in_flight: int | None) -> int:
        if max_in_flight is None:
            return max(1, self._admission.total.max_slots)
        return max_in_flight

    def _find_simulator(self, plan: RoutePlan) -> None:
        for stop in plan.stops:
            if stop.route.endpoint == SIMULATOR_ENDPOINT:
                self._have_simulator()

    def _have_simulator(self) -> None:
        """Serve `sim/...` in process, from its first use on."""
        if SIMULATOR_ENDPOINT in self._outlets:
            return
        transport = HttpTransport(self._nursery, self._outside.simulator(self._nursery))
        self._transports.append(transport)
        self._outlets[SIMULATOR_ENDPOINT] = outlet_of(SIMULATOR, self._outside.dialects, transport)

    def _make_sessions(self) -> "Sessions":
        # Imported here: most programs open no session, and its modules are a tenth of all.
        from streamnursery.sessions.opening import Sessions

        return Sessions(
            self._nursery,
            self._config,
            self._admission,
            self._catalogue,
            self._supervisor,
            self._dispatcher,
            self._observers,
            self._connector_of,
            self._outside.wall,
            self._outside.dice.random,
        )

    def _connector_of(self, name: str) -> tuple[Endpoint, Dialect, Connector]:
        if name == SIMULATOR_ENDPOINT:
            self._have_simulator()
        outlet = self._outlets.get(name)
        if outlet is None:
            names = ", ".join(map(repr, self._outlets)) or "none"
            msg = f"no endpoint is called {name!r:.80}; there are: {names}, and the simulated 'sim'"
            raise ConfigError(msg)
        assert isinstance(outlet.transport, HttpTransport)
        return outlet.endpoint, outlet.dialect, outlet.transport.connector

    def _close(self, bug: BaseException | None = None) -> None:
        self._admission.close("the engine was closed", bug, waiting_too=True)
        self._dispatcher.close(bug)
        if self._sessions is not None:
            self._sessions.close()
        self._observers.close()
        for transport in self._transports:
            transport.close()
