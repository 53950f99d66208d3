"""Who is read, and a task per connection that reads where no pump can.

A round is one synchronous call, `on_readable`; this file only waits for its turn. The pump does
the same for all connections at once.
"""

from typing import Protocol

import trio

from streamnursery.transport.network import Connection

MOST_UNREAD = 128
"""Reads of 64 KiB that what lies unread on a socket takes at most (Linux: tcp_rmem, 6 MiB)."""


class Readable(Protocol):
    """A response, or a connection of many responses, that pushes on what it reads."""

    @property
    def connection(self) -> Connection:
        """What is read; the same object for as long as it is read."""

    async def wait_readable(self) -> None:
        """Return when the next round has something to do, closing included."""

    def on_readable(self) -> bool:
        """One round: at most one read, pushed on. False: no further round is wanted."""

    def poll(self) -> bool:
        """A round out of turn; whether anything had arrived."""

    def abandon(self, why: str, cause: BaseException | None = None) -> bool:
        """Reading ends; False if no task is left to wake."""


class Reading(Protocol):
    """A `Readable` on which rounds are being made."""

    def stop(self) -> None:
        """No further round, and before the connection is closed or handed on. Idempotent;
        nothing happens after a round that has returned False."""

    async def catch_up(self) -> bool:
        """Return once a round was made for what had arrived before; False: nothing had."""


class TaskReading:
    """Rounds made by its own task."""

    def __init__(self, nursery: trio.Nursery, response: Readable) -> None:
        self._response = response
        self._scope = trio.CancelScope()
        self._rounds = 0
        nursery.start_soon(self._run, name="reader")

    def stop(self) -> None:
        self._scope.cancel()

    async def catch_up(self) -> bool:
        rounds = self._rounds
        # trio looks at the sockets between two steps of one task, and a task that waits for one
        # that can be read runs beside the second of them at the latest.
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        return self._rounds != rounds

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        response = self._response
        try:
            with self._scope:
                await response.wait_readable()
                while not self._scope.cancel_called and response.on_readable():
                    self._rounds += 1
                    await response.wait_readable()
        except Exception as bug:
            if not response.abandon("its reader failed", bug):
                raise
        except BaseException:
            response.abandon("the transport was closed")
            raise
