"""Asking each endpoint for its list of models, once: is it there, and does it take the key?"""

from email.utils import parsedate_to_datetime

import trio

from streamnursery.cli.findings import Finding
from streamnursery.cli.parser import PROGRAM
from streamnursery.cli.served_models import PATIENCE, ModelList, ask_for_models, listed
from streamnursery.transport.client import HttpTransport
from streamnursery.values.errors import EngineError
from streamnursery.values.http import HttpHead
from streamnursery.values.settings import Endpoint, EngineConfig
from streamnursery.wire.wrong_path import url_advice

_SKEW = 30.0
"""Seconds by which clocks may differ; beyond them dates in Retry-After mislead."""


async def reach_findings(config: EngineConfig, served: dict[str, tuple[str, ...]]) -> list[Finding]:
    """What the endpoints say, in the order of the configuration; `served` gets the models that
    each of them lists."""
    found: dict[str, list[Finding]] = {name: [] for name in config.endpoints}
    async with trio.open_nursery() as nursery:
        transport = HttpTransport(nursery, trust_env=config.trust_env)
        async with trio.open_nursery() as askers:
            for endpoint in config.endpoints.values():
                askers.start_soon(_look, transport, endpoint, found[endpoint.name], served)
        transport.close()
    return [finding for findings in found.values() for finding in findings]


async def _look(
    transport: HttpTransport,
    endpoint: Endpoint,
    found: list[Finding],
    served: dict[str, tuple[str, ...]],
) -> None:
    where = f"{endpoint.name} ({endpoint.url})"
    try:
        with trio.fail_after(PATIENCE):
            seen = await ask_for_models(transport, endpoint)
    except trio.TooSlowError:
        todo = "check the url, the network and the proxy"
        found.append(Finding("reach", "problem", f"{where}: silent for {PATIENCE:g} s", todo))
    except EngineError as error:
        todo = f"check the url and the network; {PROGRAM} config show --origin"
        found.append(Finding("reach", "problem", f"{where}: {error}", todo))
    else:
        served[endpoint.name] = seen.models
        found.append(_answer(where, endpoint, seen))
        found.extend(clock_findings(endpoint.name, seen.head, wall=seen.wall))
        found.extend(heartbeat_findings(endpoint, seen.seconds))


def _answer(where: str, endpoint: Endpoint, seen: ModelList) -> Finding:
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
        serves = f"; serves {listed(seen.models)}" if seen.models else ""
        return Finding("reach", "ok", f"{where}: reachable {took}{accepted}{serves}")
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
