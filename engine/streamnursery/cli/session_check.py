"""Opening one session to each endpoint whose dialect has them, and asking for a beat."""

from collections.abc import Iterator

import attrs
import trio

from streamnursery.cli.findings import Finding
from streamnursery.config.plugins import installed
from streamnursery.facade import Engine, open_engine
from streamnursery.values.errors import ConfigError, EngineError
from streamnursery.values.session import Reconnect, SessionSettings
from streamnursery.values.settings import Endpoint, EngineConfig
from streamnursery.wire.dialect import Dialect
from streamnursery.wire.registry import Dialects

_SETTINGS = SessionSettings(
    connect_timeout=8.0, close_timeout=1.0, reconnect=Reconnect(attempts=1, base=0.1)
)


async def session_findings(config: EngineConfig) -> list[Finding]:
    """What became of them, in the order of the configuration."""
    found: dict[str, Finding] = {}
    dialects = Dialects(finder=installed)
    names = [e.name for e in config.endpoints.values() if _has_sessions(dialects.find(e.dialect))]
    if names:
        quiet = attrs.evolve(config, endpoints=dict(_without_beats(config)))
        async with open_engine(quiet) as eng, trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(_look, eng, name, found)
    return [found[name] for name in names if name in found]


def _has_sessions(dialect: Dialect | None) -> bool:
    """Its own language is spoken on WebSockets, not that of a sister API."""
    session = dialect.session if dialect is not None else None
    return session is not None and dialect is not None and session.answers.name == dialect.name


def _without_beats(config: EngineConfig) -> Iterator[tuple[str, Endpoint]]:
    for name, endpoint in config.endpoints.items():
        beat = attrs.evolve(endpoint.heartbeat, interval=None)
        yield name, attrs.evolve(endpoint, heartbeat=beat)


async def _look(eng: Engine, name: str, found: dict[str, Finding]) -> None:
    try:
        async with eng.session(name, settings=_SETTINGS) as session:
            await session.wait_open()
            began_at = trio.current_time()
            with trio.fail_after(_SETTINGS.heartbeat.timeout):
                await session.beat()
            took = trio.current_time() - began_at
    except trio.TooSlowError:
        todo = "no session would last: look for a proxy that swallows pings"
        what = f"{name}: opens a WebSocket and answers no ping"
        found[name] = Finding("sessions", "problem", what, todo)
    except ConfigError:
        return  # reported among the versions and the keys
    except EngineError as error:
        todo = "only needed for sessions and `ask --ws`"
        found[name] = Finding("sessions", "note", f"{name}: no WebSocket: {error}", todo)
    else:
        what = f"{name}: opens a WebSocket, and answers a ping in {took * 1000:.0f} ms"
        found[name] = Finding("sessions", "ok", what)
