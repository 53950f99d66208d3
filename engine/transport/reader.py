"""Reads attached responses: a task per connection that is being read.

A round is one synchronous call, `on_readable`; this file only waits for its turn. Whoever waits
for many connections at once can call the same rounds.
"""

from typing import Protocol


class Readable(Protocol):
    """A response that pushes its body on."""

    async def wait_readable(self) -> None:
        """Return when the next round has something to do, closing included."""

    def on_readable(self) -> bool:
        """One round: at most one read, pushed on. False: no further round is wanted."""

    def abandon(self, why: str, cause: BaseException | None = None) -> bool:
        """Nobody will read any more; False if nobody is left to be told."""


async def read_rounds(response: Readable) -> None:
    """Read until no further round is wanted. A failure here is that response's alone."""
    try:
        await response.wait_readable()
        while response.on_readable():
            await response.wait_readable()
    except Exception as bug:
        if not response.abandon("its reader failed", bug):
            raise
    except BaseException:
        response.abandon("the transport was closed")
        raise
