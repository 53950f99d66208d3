"""A network in memory with simulated providers on it; it has the shape of `Network`.

network = SimNetwork(nursery, {"api.example.com": provider})
await network.resolve("api.example.com", 443)      -> [("45.0.0.1", 443)]
await network.connect(("45.0.0.1", 443))           -> PipeConnection
"""

import errno
import socket
import ssl
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, ip_address
from math import inf

import attrs
import trio

from streamnursery.serving.bounds import Bounds
from streamnursery.serving.service import Service, ServiceStatistics
from streamnursery.simulator import network_faults
from streamnursery.simulator.handler import ProviderHandler
from streamnursery.simulator.pipe import PipeConnection, pipe
from streamnursery.simulator.pipe_direction import Link
from streamnursery.simulator.provider import Provider
from streamnursery.simulator.script import BlackHole, RefuseConnect

_FIRST_ADDRESS = IPv4Address("45.0.0.1")


@attrs.frozen
class Host:
    """A provider on the network, reachable at every port."""

    provider: Provider
    addresses: tuple[str, ...] = ()
    """Numeric; by default one that is not private."""
    tls: ssl.SSLContext | None = None
    """A server's context; None for plain HTTP."""
    link: Link = attrs.field(factory=Link)
    """From the client to the provider."""
    back: Link | None = None
    """From the provider to the client; None: as `link`."""


class SimNetwork:
    """Names, addresses and connections of simulated providers.

    Connections are served in the nursery given; they end with it, by `stop` or by `close`.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        hosts: Mapping[str, Provider | Host] | None = None,
        *,
        idle: float = inf,
        tick: float = 0.0,
    ) -> None:
        """`idle`: seconds after which providers close connections that say nothing. `tick`:
        seconds by which paced tokens may be late, so that those of many answers go out together;
        0 sends each at its exact time."""
        self._service = Service(nursery, Bounds(idle=idle, request=inf), tick=tick)
        self._hosts: dict[str, Host] = {}
        self._addresses: dict[str, tuple[Host, int]] = {}
        self._ends: list[PipeConnection] = []
        for name, host in (hosts or {}).items():
            self.add(name, host)

    def add(self, name: str, host: Provider | Host) -> Host:
        """Put a host on the network; its name may be an IP address."""
        if isinstance(host, Provider):
            host = Host(host)
        if not host.addresses:
            host = attrs.evolve(host, addresses=(self._address_for(name),))
        host.provider.elapsed(trio.current_time())
        self._hosts[name.lower()] = host
        for index, address in enumerate(host.addresses):
            self._addresses[address] = host, index
        return host

    def _address_for(self, name: str) -> str:
        return name if _is_address(name) else str(_FIRST_ADDRESS + len(self._addresses))

    async def resolve(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        """The host's addresses. `socket.gaierror` for a name that is not on the network, or
        by `ResolveFail`."""
        await trio.lowlevel.checkpoint()
        found = self._hosts.get(host.lower().rstrip("."))
        if found is None and _is_address(host):
            return [(host, port)]
        if found is None or found.provider._state.lookup_fails(trio.current_time()):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(address, port) for address in found.addresses]

    async def connect(self, address: tuple[str, int]) -> PipeConnection:
        """A connection, after one round trip.

        Raises:
            ConnectionRefusedError: by `RefuseConnect`.
            OSError: this machine does not have this address.
        """
        await trio.lowlevel.checkpoint()
        found = self._addresses.get(address[0])
        if found is None:
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        host, index = found
        faults = host.provider._state.connection_faults(trio.current_time())
        concerned = [fault for fault in faults if getattr(fault, "address", None) in (None, index)]
        if any(isinstance(fault, BlackHole) for fault in concerned):
            await trio.sleep_forever()
        back = host.back or host.link
        if host.link.latency or back.latency:
            await trio.sleep(host.link.latency + back.latency)
        if any(isinstance(fault, RefuseConnect) for fault in concerned):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        ours, theirs = pipe(host.link, back)
        others = tuple(f for f in concerned if not isinstance(f, BlackHole | RefuseConnect))
        handler = ProviderHandler(host.provider)
        network_faults.accept(self._service, theirs, handler, others, host.tls)
        self._remember(ours)
        return ours

    def _remember(self, end: PipeConnection) -> None:
        if len(self._ends) >= 64 and len(self._ends) & (len(self._ends) - 1) == 0:
            self._ends = [end for end in self._ends if not end.closed]
        self._ends.append(end)

    @property
    def open_connections(self) -> int:
        """Connections whose client end is not closed."""
        return sum(not end.closed for end in self._ends)

    def statistics(self) -> ServiceStatistics:
        return self._service.statistics()

    async def stop(self, grace: float = 0.0) -> None:
        """Refuse new connections, let answers end for `grace` seconds, and return when all
        connections have ended at the provider's side. Cancelled, it ends them at once."""
        await self._service.stop(grace)

    def close(self) -> None:
        """End all connections; their tasks are gone after a few steps."""
        self._service.close()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
