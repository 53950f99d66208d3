"""Responses for tests of whoever makes the rounds."""

from collections.abc import Callable

import trio

from streamnursery.transport.network import READ_SIZE, Connection


class Reads:
    """A `Readable` that keeps what each round brought; `then` runs in the round, after the read."""

    def __init__(
        self,
        connection: Connection,
        then: Callable[["Reads"], bool] = lambda _: True,
        *,
        told: bool = True,
    ) -> None:
        self.connection = connection
        self.rounds: list[bytes | None] = []
        """None where there was nothing to read."""
        self.abandoned: list[str] = []
        self._then = then
        self._told = told

    @property
    def data(self) -> bytes:
        return b"".join(part for part in self.rounds if part)

    async def wait_readable(self) -> None:
        await self.connection.wait_readable()

    def on_readable(self) -> bool:
        try:
            self.rounds.append(self.connection.recv_nowait(READ_SIZE))
        except trio.WouldBlock:
            self.rounds.append(None)
        return self._then(self)

    def poll(self) -> bool:
        self.on_readable()
        return self.rounds[-1] is not None

    def abandon(self, why: str, cause: BaseException | None = None) -> bool:
        self.abandoned.append(why if cause is None else f"{why}: {cause}")
        return self._told
