"""The world's network as one engine sees it: it knows which connections that engine holds."""

from collections.abc import Sequence

from streamnursery.transport.network import Address, Connection, Network


class OwnNetwork:
    """Passes everything on; the connections themselves are the world's."""

    def __init__(self, below: Network) -> None:
        self._below = below
        self._made: list[Connection] = []

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        return await self._below.resolve(host, port)

    async def connect(self, address: Address) -> Connection:
        connection = await self._below.connect(address)
        self._made = [*filter(_is_open, self._made), connection]
        return connection

    @property
    def open_connections(self) -> int:
        """Connections that this engine made and has not closed."""
        return sum(map(_is_open, self._made))


def _is_open(connection: Connection) -> bool:
    return not getattr(connection, "closed", False)
