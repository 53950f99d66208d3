"""Opens sessions, and knows those that are open."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import attrs
import trio

from streamnursery.core.routing.route_plan import plan
from streamnursery.pipeline.stream import TokenStream
from streamnursery.scheduler.admission.admission import Admission
from streamnursery.scheduler.run.calls import call_deadline
from streamnursery.scheduler.run.catalogue import SIMULATED, SIMULATOR_ENDPOINT, Catalogue
from streamnursery.scheduler.run.dispatcher import Dispatcher
from streamnursery.sessions.core import SessionCore
from streamnursery.sessions.link import Destination, LinkDeps
from streamnursery.sessions.session import Session
from streamnursery.sessions.turns import TurnAdmission, TurnTransport
from streamnursery.supervisor.course import Course
from streamnursery.supervisor.endpoint import Outlet, identity_headers, read_again
from streamnursery.supervisor.ports import Recorder
from streamnursery.supervisor.routes import Routes
from streamnursery.supervisor.supervisor import Supervisor
from streamnursery.transport.connect import Connector
from streamnursery.transport.websocket import require_websockets
from streamnursery.values.errors import ConfigError, RequestError
from streamnursery.values.http import Header
from streamnursery.values.policy import Priority
from streamnursery.values.request import ChatRequest, make_request
from streamnursery.values.session import SessionSettings
from streamnursery.values.settings import Endpoint, EngineConfig, Route
from streamnursery.wire.dialect import Dialect, SessionDialect

Hook = Callable[[Session], Awaitable[object]]


@attrs.define(eq=False)
class Sessions:
    """The sessions of an engine."""

    nursery: trio.Nursery
    config: EngineConfig
    admission: Admission
    catalogue: Catalogue
    supervisor: Supervisor
    dispatcher: Dispatcher
    recorder: Recorder
    connector: Callable[[str], tuple[Endpoint, Dialect, Connector]]
    """An endpoint by its name, its language, and what connects to it; raises `ConfigError`."""
    wall: Callable[[], float]
    dice: Callable[[], float]
    live: dict[SessionCore, None] = attrs.field(factory=dict, init=False)
    _opened: int = attrs.field(default=0, init=False)

    @property
    def connections(self) -> int:
        """Sockets of all sessions."""
        return sum(core.connections for core in self.live)

    @asynccontextmanager
    async def open(
        self,
        endpoint: str,
        *,
        path: str | None,
        settings: SessionSettings | None,
        heartbeat: Hook | None,
    ) -> AsyncIterator[Session]:
        """A session for the length of the block; its tasks live in the engine's nursery."""
        await trio.lowlevel.checkpoint()
        require_websockets()
        self.admission.check_open()
        found, dialect, connector = self.connector(endpoint)
        language = dialect.session
        if language is None:
            msg = (
                f"endpoint {endpoint!r} speaks {dialect.name}, which has no sessions; "
                "name an endpoint whose dialect has them"
            )
            raise ConfigError(msg)
        self._opened += 1
        core = SessionCore(
            number=self._opened,
            dialect=language,
            destination=_destination(found, language, path),
            settings=settings or self.config.sessions,
            means=LinkDeps(connector, self.wall, self.dice),
            recorder=self.recorder,
        )
        session = Session(core, _Opener(self, core, found).stream)
        if heartbeat is not None:
            core.hook = partial(heartbeat, session)
        self.live[core] = None
        self.nursery.start_soon(self._run, core, name=f"session {core.number}")
        in_order = False
        try:
            yield session
            in_order = True
        finally:
            with trio.CancelScope(shield=True):
                await core.close(in_order=in_order)

    async def _run(self, core: SessionCore) -> None:
        try:
            await core.run()
        finally:
            del self.live[core]

    def close(self) -> None:
        """End all at once."""
        for core in list(self.live):
            core.mark_closed()


class _Opener:
    """Opens the answers of one session: the engine's own way of making a stream, over lanes."""

    def __init__(self, sessions: Sessions, core: SessionCore, endpoint: Endpoint) -> None:
        self._sessions = sessions
        self._core = core
        self._endpoint = endpoint
        self._routes = Routes(sessions.supervisor.dice, sessions.supervisor.recorder)
        """Breakers and pauses of this session's own: its connection is not shared."""

    def stream(
        self,
        model: str | ChatRequest,
        prompt: object,
        *,
        lane: str | None,
        previous_response_id: str | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
        priority: Priority | None = None,
        buffer_events: int | None = None,
        buffer_bytes: int | None = None,
        **fields: Any,
    ) -> AbstractAsyncContextManager[TokenStream]:
        sessions, config = self._sessions, self._sessions.config
        request = sessions.catalogue.with_defaults(make_request(model, prompt, **fields))
        if previous_response_id is not None:
            request = self._core.dialect.after(request, previous_response_id)
        if priority is None:
            priority = Priority.INTERACTIVE if request.priority is None else request.priority
        sessions.admission.check_open()
        return sessions.dispatcher.stream(
            request,
            self._course(request, priority),
            deadline=call_deadline(deadline, timeout),
            buffer_events=_bound("buffer_events", buffer_events, config.buffer_events),
            buffer_bytes=_bound("buffer_bytes", buffer_bytes, config.buffer_bytes),
            supervisor=self._supervisor(lane),
            buffers=self._core.buffers,
        )

    def _supervisor(self, lane: str | None) -> Supervisor:
        engine = self._sessions.supervisor
        admission = TurnAdmission(engine.admission, self._core.lanes, lane)
        transport = TurnTransport(self._core, admission)
        outlet = Outlet.of(self._endpoint, self._core.dialect.answers, transport)
        supervisor = attrs.evolve(
            engine, admission=admission, outlets={self._endpoint.name: outlet}
        )
        supervisor.routes = self._routes
        return supervisor

    def _course(self, request: ChatRequest, priority: Priority) -> Course:
        """The model at this session's endpoint, and nowhere else."""
        sessions = self._sessions
        found = plan(
            request,
            sessions.config,
            routes=lambda model: (self._route(model),),
            name=sessions.catalogue.name,
        )
        alone = attrs.evolve(found, stops=found.stops[:1], left_out=())
        rank = sessions.admission.next_rank(priority)
        return sessions.catalogue.course(request, rank, alone)

    def _route(self, model: str) -> Route:
        """Under the name that a route to this endpoint gives it, if there is one."""
        settings = self._sessions.config.models.get(model)
        for route in settings.routes if settings is not None else ():
            if route.endpoint == self._endpoint.name:
                return route
        if self._endpoint.name == SIMULATOR_ENDPOINT:
            model = model.removeprefix(SIMULATED)
        return Route(self._endpoint.name, model)


def _destination(endpoint: Endpoint, dialect: SessionDialect, path: str | None) -> Destination:
    if endpoint.missing_key:
        msg = f"no key for endpoint {endpoint.name!r}: {endpoint.missing_key}"
        raise ConfigError(msg)
    if path is None:
        path = endpoint.url.path + dialect.path(endpoint)
    if not isinstance(path, str) or not path.startswith("/"):
        raise RequestError('path is the whole path on the server, such as "/v1/responses"')
    path, _, query = path.partition("?")
    more = urlencode(endpoint.query)
    asked = "&".join(part for part in (query, more) if part)
    target = quote(path, safe="/%:@!$&'()*+,;=~") + (f"?{asked}" if asked else "")

    def read_headers() -> tuple[Header, ...]:
        read_again(endpoint)
        return identity_headers(endpoint, dialect.answers)

    return Destination(
        endpoint.name,
        attrs.evolve(endpoint.peer, http="1.1"),
        endpoint.url,
        target,
        identity_headers(endpoint, dialect.answers),
        read_headers,
    )


def _bound(name: str, value: int | None, default: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        msg = f"{name} must be a whole number >= 1, not {value!r}"
        raise RequestError(msg)
    return value
