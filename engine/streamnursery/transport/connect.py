"""From a peer to a usable connection: resolve, check, race, tunnel, encrypt.

Rule 1: what was checked is what is connected to: with `deny_private` every address of the name
        is looked at, and the connection goes to one of exactly these, through a proxy too.
Rule 2: addresses race with a head start of 250 ms, families taking turns (RFC 8305): a dead
        first address costs a quarter of a second, not a timeout.
Rule 3: a server that takes HTTP/2 with a cipher suite that HTTP/2 bars gets an error and is asked
        for HTTP/1.1, to which the suite is no worse than before. Where only HTTP/2 would do, none
        of these suites is offered.
Rule 4: one connection survives; every other socket is closed before this returns, fails or is
        cancelled.
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest

import attrs
import trio

from streamnursery.transport.http2 import frames
from streamnursery.transport.network import Address, Connection, Network, without_frames
from streamnursery.transport.proxy import Proxy, open_tunnel, proxy_for
from streamnursery.transport.single_errors import bare_errors
from streamnursery.transport.tls import HTTP_1_1, HTTP_2, TlsConnection, TlsContexts, start_tls
from streamnursery.values.errors import ConfigError, ConnectError, DescriptorsExhaustedError
from streamnursery.values.http import Peer
from streamnursery.values.origin import is_private

HEAD_START = 0.25
"""Seconds before the next address joins the race, if the last one has not failed sooner."""
MAX_ADDRESSES = 16
"""Addresses of one name that are tried."""
_ALPN = {"auto": (*HTTP_2, *HTTP_1_1), "2": HTTP_2, "1.1": HTTP_1_1, "h2c": HTTP_1_1}
_LAST_WORDS = 1.0
"""Seconds that telling a server what is wrong with it may take."""


class Connector:
    """Makes connections; holds nothing but the TLS contexts."""

    def __init__(self, network: Network, *, trust_env: bool = False) -> None:
        self._network = network
        self._trust_env = trust_env
        self._contexts = TlsContexts(trust_env=trust_env)

    async def connect(self, peer: Peer, another: Callable[[], None] = lambda: None) -> Connection:
        """A connection to `peer` on which nothing of a request was sent; `another` is called before
        a second one is begun.

        Raises:
            ConnectError: nothing usable answers there.
            TlsError: the certificate is not acceptable.
            ConfigError: the peer's proxy, CA file or HTTP version cannot be used.
        """
        check_version(peer)
        host, port = peer.origin.host, peer.origin.port
        context = self._contexts.get(peer, _ALPN[peer.http]) if peer.origin.secure else None
        proxy = proxy_for(peer, trust_env=self._trust_env)
        if proxy is None:
            connection = await self._dial(host, port, deny_private=peer.deny_private)
        else:
            connection = await self._dial_through(proxy, peer)
        if context is None:
            return connection
        secured = await start_tls(connection, context, host)
        if peer.http == "2" and secured.alpn != "h2":
            secured.close()
            msg = f"{host} does not speak HTTP/2; set the endpoint's http to 'auto' or '1.1'"
            raise ConnectError(msg, retryable=False)
        if secured.alpn == "h2" and secured.barred:
            await _decline(secured)
            another()
            return await self.connect(attrs.evolve(peer, http="1.1"))
        return secured

    async def _dial(self, host: str, port: int, *, deny_private: bool = False) -> Connection:
        addresses = await self._resolve(host, port)
        if deny_private:
            refuse_private(host, addresses)
        return await race(self._network, addresses, host)

    async def _dial_through(self, proxy: Proxy, peer: Peer) -> Connection:
        host, port = peer.origin.host, peer.origin.port
        if peer.deny_private:
            addresses = await self._resolve(host, port)
            refuse_private(host, addresses)
            host, port = addresses[0]
        connection = await self._dial(proxy.host, proxy.port)
        try:
            await open_tunnel(connection, proxy, host, port)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _resolve(self, host: str, port: int) -> list[Address]:
        try:
            found = await self._network.resolve(host, port)
        except OSError as error:
            msg = (
                f"{host} does not resolve ({error.strerror or error}); check the host name in "
                "the endpoint's url, and the DNS of this machine"
            )
            raise _unresolved(msg) from without_frames(error)
        if not found:
            msg = f"{host} has no addresses; check the host name in the endpoint's url"
            raise _unresolved(msg)
        return take_turns(found)[:MAX_ADDRESSES]


def _unresolved(msg: str) -> ConnectError:
    error = ConnectError(msg)
    error.unresolved = True
    return error


def check_version(peer: Peer) -> None:
    """Raise ConfigError if the peer's HTTP version does not go with its URL."""
    if peer.http == "2" and not peer.origin.secure:
        msg = "http = '2' needs an https url; over http set it to 'h2c', if the server knows that"
        raise ConfigError(msg)
    if peer.http == "h2c" and peer.origin.secure:
        msg = "http = 'h2c' is HTTP/2 without TLS; with an https url set it to '2'"
        raise ConfigError(msg)


def may_speak_http2(peer: Peer) -> bool:
    """Whether HTTP/2 is asked for, or offered."""
    return not peer.http1_only


def speaks_http2(peer: Peer, connection: Connection) -> bool:
    """Whether HTTP/2 was agreed on, or is known beforehand."""
    return peer.http == "h2c" or (isinstance(connection, TlsConnection) and connection.alpn == "h2")


def refuse_private(host: str, addresses: Sequence[Address]) -> None:
    """Raise ConnectError, not retryable, if any of the addresses is private or local."""
    for ip, _ in addresses:
        if is_private(ip):
            msg = (
                f"{host} resolves to {ip}, which is not a public address; deny_private forbids "
                "it: correct the url, or allow private addresses for this endpoint"
            )
            raise ConnectError(msg, retryable=False)


def take_turns(addresses: Sequence[Address]) -> list[Address]:
    """The same addresses, families alternating, beginning with the first one's."""
    first_is_v6 = ":" in addresses[0][0]
    same = [a for a in addresses if (":" in a[0]) is first_is_v6]
    other = [a for a in addresses if (":" in a[0]) is not first_is_v6]
    turns = chain.from_iterable(zip_longest(same, other))
    return [address for address in turns if address is not None]


async def _decline(connection: Connection) -> None:
    """Say why HTTP/2 is not spoken here. Whether that is heard changes nothing."""
    why = frames.goaway(0, frames.ErrorCode.INADEQUATE_SECURITY)
    try:
        with suppress(OSError, trio.ClosedResourceError), trio.move_on_after(_LAST_WORDS):
            await connection.send_all(frames.PREFACE + frames.settings({}) + why)
    finally:
        connection.close()


async def race(network: Network, addresses: Sequence[Address], host: str) -> Connection:
    """Connect to whichever address answers first.

    Raises:
        ConnectError: none did.
    """
    failures: list[OSError] = []
    if len(addresses) == 1:
        winner = await _try(network, addresses[0], failures)
    else:
        winner = await _AddressRace(network, addresses, failures).run()
    if winner is not None:
        return winner
    tried = ", ".join(f"{ip} port {port}" for ip, port in addresses)
    reasons = "; ".join(dict.fromkeys(str(e.strerror or e) for e in failures))
    advice, kind = "is the server up and the port right?", ConnectError
    if any(error.errno in (errno.EMFILE, errno.ENFILE) for error in failures):
        advice = "raise the limit of open files (ulimit -n), or lower max_streams"
        kind = DescriptorsExhaustedError
    msg = f"no connection to {host} ({tried}): {reasons}; {advice}"
    lost = kind(msg)
    lost.refused = all(error.errno == errno.ECONNREFUSED for error in failures)
    raise lost from without_frames(failures[0])


async def _try(network: Network, address: Address, failures: list[OSError]) -> Connection | None:
    try:
        return await network.connect(address)
    except OSError as error:
        failures.append(error)
        return None


class _AddressRace:
    """Staggered attempts, one task each; the first connection ends the race."""

    def __init__(
        self, network: Network, addresses: Sequence[Address], failures: list[OSError]
    ) -> None:
        self._network = network
        self._addresses = addresses
        self._failures = failures
        self._winner: Connection | None = None

    async def run(self) -> Connection | None:
        try:
            with bare_errors():
                await self._run_all()
        except BaseException:
            # Cancelled from outside, perhaps in the very step in which the race was won.
            if self._winner is not None:
                self._winner.close()
            raise
        return self._winner

    async def _run_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for address in self._addresses:
                lost = trio.Event()
                nursery.start_soon(self._run_one, address, lost, nursery.cancel_scope)
                with trio.move_on_after(HEAD_START):
                    await lost.wait()

    async def _run_one(self, address: Address, lost: trio.Event, scope: trio.CancelScope) -> None:
        connection = await _try(self._network, address, self._failures)
        if connection is None:
            lost.set()
        elif self._winner is None:
            self._winner = connection
            scope.cancel()
        else:
            connection.close()
