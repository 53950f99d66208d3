"""Who is read, and a task per connection that reads where no pump can.

A round is one synchronous call, `on_readable`; this file only waits for its turn. The pump does
the same for all connections at once.
"""

from typing import Protocol

import trio

from streamnursery.transport.network import Connection


class Readable(Protocol):
    """A response, or a connection of many responses, that pushes on what it reads."""

    @property
    def connection(self) -> Connection:
        """What is read; the same object for as long as it is read."""

    async def wait_readable(self) -> None:
        """Return when the next round has something to do, closing included."""

    def on_readable(self) -> bool:
        """One round: at most one read, pushed on. False: no further round is wanted."""

    def abandon(self, why: str, cause: BaseException | None = None) -> bool:
        """Nobody will read any more; False if nobody is left to be told."""


class Reading(Protocol):
    """A `Readable` on which rounds are being made."""

    def stop(self) -> None:
        """No further round, and before the connection is closed or handed on. Idempotent;
        nothing happens after a round that has returned False."""


class TaskReading:
    """Rounds made by a task of its own."""

    def __init__(self, nursery: trio.Nursery, response: Readable) -> None:
        self._response = response
        self._scope = trio.CancelScope()
        nursery.start_soon(self._run, name="reader")

    def stop(self) -> None:
        self._scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        response = self._response
        try:
            with self._scope:
                await response.wait_readable()
                while not self._scope.cancel_called and response.on_readable():
                    await response.wait_readable()
        except Exception as bug:
            if not response.abandon("its reader failed", bug):
                raise
        except BaseException:
            response.abandon("the transport was closed")
            raise
