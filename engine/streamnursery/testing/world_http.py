"""A world for clients that are not this engine: `world.http`.

    async with httpx.AsyncClient(transport=world.http.transport) as http:     # httpx2 likewise
        await world.http.confront(partial(ask, http))        # ask(http, base_url, prompt) -> text

Rule 1: the client is the program's own; below it are this world's network and clock, through the
        transport that `open_transport` gives to httpx.
Rule 2: a client may say that it failed, and may say the whole text. All else is a finding.
Rule 3: a client that reads for ever is a finding too: virtual time does not pass while it reads.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

import trio

from streamnursery.simulator.fault import NetworkFault
from streamnursery.testing.as_code import as_code
from streamnursery.testing.told import PROMPT, Told, text_problem
from streamnursery.transport.client import HttpTransport
from streamnursery.transport.http import StreamNurseryTransport, transport_over
from streamnursery.transport.network import Network

if TYPE_CHECKING:
    from streamnursery.simulator import Provider
    from streamnursery.values.http import HttpVersion

WITHIN: Final = 3600.0
"""Seconds of virtual time in which a client must have an answer or an error."""
FLOOD: Final = 8 * 1024 * 1024
"""Bytes of one answer; no answer of a simulated model is as long."""

Client = Callable[[str, str], Awaitable[str]]
"""From a base URL and a prompt to the text of the answer; it raises if it has none."""


class HttpPlace(Protocol):
    """What this asks of a `World`."""

    @property
    def network(self) -> Network: ...

    @property
    def provider(self) -> "Provider": ...


class WorldHttp:
    """HTTP to the first provider of a world, for any client; made by the world."""

    def __init__(self, world: HttpPlace, url: str, http: "HttpVersion") -> None:
        self.url = url
        """The base URL, as `OPENAI_BASE_URL` would hold it."""
        self._world = world
        self._http = http
        self._nursery: trio.Nursery | None = None
        self._inner: HttpTransport | None = None
        self._transport: StreamNurseryTransport | None = None

    def begin(self, nursery: trio.Nursery) -> None:
        """The world has opened; its tasks run in `nursery`."""
        self._nursery = nursery

    def end(self) -> None:
        """Close what is idle; an answer that was left open stays, and is found by the world."""
        if self._inner is not None:
            self._inner.close_idle()

    @property
    def transport(self) -> StreamNurseryTransport:
        """For `AsyncClient(transport=...)` of httpx and of httpx2, while the world is open.

        Raises:
            RuntimeError: the world is not open.
        """
        if self._nursery is None:
            raise RuntimeError("this world is not open; use World(seed).run(main)")
        if self._transport is None:
            self._inner = HttpTransport(self._nursery, self._world.network)
            self._transport = transport_over(self._inner, http=self._http)
        return self._transport

    async def confront(
        self, client: Client, *, prompt: str = PROMPT, within: float = WITHIN
    ) -> None:
        """Ask `client` once, and compare what it says with what the provider meant.

        Raises:
            AssertionError: it said another text than the provider meant, or a part of it; it did
                not end `within` seconds of virtual time; or it read without end.
        """
        provider = self._world.provider
        seen = len(provider.log)
        told: Told = None
        with trio.move_on_after(within) as limit:
            async with trio.open_nursery() as nursery:
                flood = _FloodGauge(provider, seen, nursery.cancel_scope)
                trio.lowlevel.add_instrument(flood)
                try:
                    told = await _asked(client, self.url, prompt)
                finally:
                    trio.lowlevel.remove_instrument(flood)
                    nursery.cancel_scope.cancel()
        records = list(provider.log)[seen:]
        if flood.bytes > FLOOD:
            problem: str | None = (
                f"it read {flood.bytes:,} bytes of one answer, and went on reading"
            )
        elif limit.cancelled_caught:
            problem = f"it had neither an answer nor an error after {within:g} s"
        else:
            problem = text_problem(told, [] if self._network_fails(told) else records)
        if problem is not None:
            msg = f"{problem}\nplan: {as_code(provider.plan)}"
            raise AssertionError(msg)

    def _network_fails(self, told: Told) -> bool:
        """Whether an error may come from the network, of which no request knows."""
        faults = (fault for rule in self._world.provider.plan.rules for fault in rule.script)
        return isinstance(told, BaseException) and any(isinstance(f, NetworkFault) for f in faults)


async def _asked(client: Client, url: str, prompt: str) -> Told:
    try:
        return await client(url, prompt)
    except trio.Cancelled:
        raise
    except Exception as error:  # noqa: BLE001 - any error is an honest answer to a fault
        return _without_frames(error)


def _without_frames(error: BaseException) -> BaseException:
    """Frames hold generators of httpx, which complain when they are collected late."""
    left: BaseException | None = error
    while left is not None:
        left.__traceback__ = None
        left = left.__cause__ or left.__context__
    return error


class _FloodGauge(trio.abc.Instrument):
    """Ends a client that reads and reads: no virtual time passes, so that no date comes."""

    def __init__(self, provider: "Provider", seen: int, scope: trio.CancelScope) -> None:
        self.bytes = 0
        self._provider = provider
        self._seen = seen
        self._scope = scope
        self._steps = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self._steps += 1
        if self._steps % 64:
            return
        self.bytes = max(
            (record.sent_bytes for record in list(self._provider.log)[self._seen :]), default=0
        )
        if self.bytes > FLOOD:
            self._scope.cancel()
