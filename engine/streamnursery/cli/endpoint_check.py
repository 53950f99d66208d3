"""Asking each endpoint for its list of models, once: is it there, and does it take the key?"""

import time
from email.utils import parsedate_to_datetime

import attrs
import trio

from streamnursery.cli.findings import Finding
from streamnursery.cli.parser import PROGRAM
from streamnursery.config.plugins import installed
from streamnursery.facade.assembly import outlet_of
from streamnursery.transport.client import HttpTransport
from streamnursery.transport.ports import Unhurried
from streamnursery.values.errors import EngineError
from streamnursery.values.http import HttpHead
from streamnursery.values.settings import Endpoint, EngineConfig
from streamnursery.wire.registry import Dialects
from streamnursery.wire.wrong_path import url_advice

_PATIENCE = 8.0
"""Seconds for everything."""
_SKEW = 30.0
"""Seconds by which clocks may differ; beyond them dates in Retry-After mislead."""


@attrs.frozen
class _Seen:
    head: HttpHead
    seconds: float
    wall: float


async def reach_findings(config: EngineConfig) -> list[Finding]:
    """What the endpoints say, in the order of the configuration."""
    found: dict[str, list[Finding]] = {name: [] for name in config.endpoints}
    async with trio.open_nursery() as nursery:
        transport = HttpTransport(nursery, trust_env=config.trust_env)
        async with trio.open_nursery() as askers:
            for endpoint in config.endpoints.values():
                askers.start_soon(_look, transport, endpoint, found[endpoint.name])
        transport.close()
    return [finding for findings in found.values() for finding in findings]


async def _look(transport: HttpTransport, endpoint: Endpoint, found: list[Finding]) -> None:
    where = f"{endpoint.name} ({endpoint.url})"
    try:
        with trio.fail_after(_PATIENCE):
            seen = await _ask(transport, endpoint)
    except trio.TooSlowError:
        todo = "check the url, the network and the proxy"
        found.append(Finding("reach", "problem", f"{where}: silent for {_PATIENCE:g} s", todo))
    except EngineError as error:
        todo = f"check the url and the network; {PROGRAM} config show --origin"
        found.append(Finding("reach", "problem", f"{where}: {error}", todo))
    else:
        found.append(_answer(where, endpoint, seen))
        found.extend(clock_findings(endpoint.name, seen.head, wall=seen.wall))
        found.extend(heartbeat_findings(endpoint, seen.seconds))


async def _ask(transport: HttpTransport, endpoint: Endpoint) -> _Seen:
    started_at = trio.current_time()
    asked = attrs.evolve(endpoint, heartbeat=attrs.evolve(endpoint.heartbeat, path="/models"))
    outlet = outlet_of(asked, Dialects(finder=installed), transport)
    if outlet.token is not None:
        await outlet.take_token()
    request = outlet.heartbeat()
    answer = await transport.open(request, Unhurried())
    seen = _Seen(answer.head, trio.current_time() - started_at, time.time())
    answer.close()
    return seen


def _answer(where: str, endpoint: Endpoint, seen: _Seen) -> Finding:
    status = seen.head.status
    took = f"in {seen.seconds * 1000:.0f} ms"
    if status in (401, 403):
        if endpoint.key is None:
            what = f"{where}: reachable {took}, and wants a key ({status})"
            todo = f'[endpoints.{endpoint.name}] key = {{ env = "NAME" }}'
            return Finding("reach", "problem", what, todo)
        todo = "check the key, and that it belongs to this url"
        return Finding("reach", "problem", f"{where}: refuses the key ({status})", todo)
    if status >= 500:
        return Finding("reach", "problem", f"{where}: answers {status}", "try again later")
    if 200 <= status < 300:
        accepted = "" if endpoint.key is None else ", and takes the key"
        return Finding("reach", "ok", f"{where}: reachable {took}{accepted}")
    advice = url_advice(endpoint.url)
    if status in (404, 405) and advice is not None:
        what = f"{where}: reachable {took}, and serves nothing at /models ({status})"
        return Finding("reach", "note", what, advice)
    return Finding("reach", "ok", f"{where}: reachable {took} (no list of models: {status})")


def heartbeat_findings(endpoint: Endpoint, seconds: float) -> list[Finding]:
    """Whether an endpoint that took so long to answer would be taken for dead."""
    beat = endpoint.heartbeat
    if beat.interval is None:
        return []
    where = f"{endpoint.name}: answers in {seconds * 1000:.0f} ms of {beat.timeout:g} s"
    if seconds <= beat.timeout:
        return [Finding("heartbeat", "ok", f"{where}, asked every {beat.interval:g} s when idle")]
    todo = f"raise endpoints.{endpoint.name}.heartbeat.timeout"
    return [Finding("heartbeat", "problem", f"{where}: it would be taken for dead", todo)]


def clock_findings(name: str, head: HttpHead, *, wall: float) -> list[Finding]:
    """How far this machine's clock, at `wall` Unix time, is from that of the endpoint `name`."""
    try:
        theirs = parsedate_to_datetime(head.get("date") or "").timestamp()
    except ValueError:
        return []
    ahead = wall - theirs
    if abs(ahead) <= _SKEW:
        return [Finding("clock", "ok", f"agrees with {name}")]
    way = "ahead of" if ahead > 0 else "behind"
    todo = "set this machine's clock; certificates and Retry-After dates depend on it"
    return [Finding("clock", "problem", f"{abs(ahead):.0f} s {way} {name}", todo)]
