"""The models that an endpoint says it serves: `GET /models`, asked once."""

import time

import attrs
import msgspec
import trio

from streamnursery.config.plugins import installed
from streamnursery.facade.assembly import outlet_of
from streamnursery.transport.client import HttpTransport
from streamnursery.transport.ports import HttpResponse, Unhurried
from streamnursery.values.errors import EngineError
from streamnursery.values.http import HttpHead
from streamnursery.values.settings import Endpoint, EngineConfig
from streamnursery.wire.registry import Dialects

PATIENCE = 8.0
"""Seconds for everything."""
_MOST_BYTES = 4 * 1024 * 1024
_SHOWN = 6


@attrs.frozen
class ModelList:
    """The answer of one endpoint."""

    head: HttpHead
    seconds: float
    """From the question to the head."""
    wall: float
    """Unix time then."""
    models: tuple[str, ...] = ()
    """Empty where the answer is not a list of models."""


async def ask_for_models(transport: HttpTransport, endpoint: Endpoint) -> ModelList:
    """Ask, with the endpoint's own key.

    Raises:
        EngineError: nothing answered.
    """
    started_at = trio.current_time()
    asked = attrs.evolve(endpoint, heartbeat=attrs.evolve(endpoint.heartbeat, path="/models"))
    outlet = outlet_of(asked, Dialects(finder=installed), transport)
    if outlet.token is not None:
        await outlet.take_token()
    answer = await transport.open(outlet.heartbeat(), Unhurried())
    try:
        seconds, wall = trio.current_time() - started_at, time.time()
        body = await _body(answer) if answer.head.status == 200 else b""
        return ModelList(answer.head, seconds, wall, names_in(body))
    finally:
        answer.close()


async def _body(answer: HttpResponse) -> bytes:
    body = bytearray()
    while more := await answer.receive_some():
        body += more
        if len(body) > _MOST_BYTES:
            return b""
    return bytes(body)


def names_in(body: bytes) -> tuple[str, ...]:
    """The names in a list of models as OpenAI and Anthropic (`data`, `id`) or Gemini (`models`,
    `name`) write it; none where it is something else."""
    try:
        told = msgspec.json.decode(body or b"null")
    except msgspec.DecodeError:
        return ()
    if not isinstance(told, dict):
        return ()
    found = []
    for key, name in (("data", "id"), ("models", "name")):
        rows = told.get(key)
        for row in rows if isinstance(rows, list) else ():
            value = row.get(name) if isinstance(row, dict) else None
            if isinstance(value, str) and value:
                found.append(value.removeprefix("models/"))
    return tuple(dict.fromkeys(found))


def served_models(config: EngineConfig, name: str) -> tuple[str, ...]:
    """What the endpoint `name` serves; nothing where it does not say within `PATIENCE`."""

    async def ask() -> tuple[str, ...]:
        with trio.move_on_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                transport = HttpTransport(nursery, trust_env=config.trust_env)
                try:
                    return (await ask_for_models(transport, config.endpoints[name])).models
                except EngineError:
                    return ()
                finally:
                    transport.close()
        return ()

    return trio.run(ask)


def listed(models: tuple[str, ...]) -> str:
    """Some of the names, for one line."""
    more = len(models) - _SHOWN
    return ", ".join(models[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
