"""Host names to addresses, by the system's resolver.

Rule 1: one look-up of a name is under way at a time, and serves everybody who wants it meanwhile.
        It belongs to none of them: who is cancelled leaves, and the others get its result.
Rule 2: what was found is kept for `KEPT` seconds, which a burst of connections takes; what was not
        found is not kept. The record's own time to live is not known: getaddrinfo does not report
        it.
Rule 3: look-ups run in their own threads, `THREADS` at once. A resolver that hangs takes none of
        those that the program gets from `trio.to_thread`.
"""

import socket
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

if TYPE_CHECKING:
    from outcome import Outcome

KEPT = 5.0
"""Seconds."""
THREADS = 16
_MOST_KEPT = 1024

Addresses: TypeAlias = tuple[str, ...]
"""Numeric, in the resolver's order."""
Found: TypeAlias = Addresses | Exception
LookUp: TypeAlias = Callable[[str, Callable[[Found], None]], None]
"""Begins the look-up of a name, and calls back in trio's thread with what came of it."""


@attrs.define(eq=False)
class _UnderWay:
    over: trio.Event = attrs.field(factory=trio.Event)
    found: Found | None = None


class Names:
    """The names that a network has looked up."""

    def __init__(self, look_up: LookUp | None = None) -> None:
        self._look_up = look_up or _in_a_thread
        self._kept: OrderedDict[str, tuple[float, Addresses]] = OrderedDict()
        """With the time until which each is kept; the oldest first."""
        self._under_way: dict[str, _UnderWay] = {}
        self._waiting: deque[str] = deque()
        """Names whose look-up has no thread yet."""
        self._running = 0

    async def addresses(self, host: str) -> Addresses:
        """The addresses of `host`; a checkpoint in any case.

        Raises:
            OSError: it does not resolve.
            UnicodeError: it is not a host name.
        """
        kept = self._kept.get(host)
        if kept is not None and kept[0] > trio.current_time():
            await trio.lowlevel.checkpoint()
            return kept[1]
        numeric = _numeric(host)
        if numeric is not None:
            await trio.lowlevel.checkpoint()
            return numeric
        under_way = self._under_way.get(host)
        if under_way is None:
            under_way = self._under_way[host] = _UnderWay()
            self._waiting.append(host)
            self._start()
        await under_way.over.wait()
        assert under_way.found is not None
        if isinstance(under_way.found, Exception):
            # Each gets its own error: a traceback grows with everybody who raises it.
            raise type(under_way.found)(*under_way.found.args)
        return under_way.found

    def _start(self) -> None:
        while self._waiting and self._running < THREADS:
            host = self._waiting.popleft()
            self._running += 1
            self._look_up(host, partial(self._over, host))

    def _over(self, host: str, found: Found) -> None:
        self._running -= 1
        under_way = self._under_way.pop(host)
        under_way.found = found
        under_way.over.set()
        if not isinstance(found, Exception):
            self._kept.pop(host, None)
            self._kept[host] = trio.current_time() + KEPT, found
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        self._start()


def _numeric(host: str) -> Addresses | None:
    """The address that `host` itself is, if it is one; this does not block."""
    try:
        return _ask(host, socket.AI_NUMERICHOST)
    except OSError:
        return None


def _ask(host: str, flags: int = 0) -> Addresses:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))


def _in_a_thread(host: str, over: Callable[[Found], None]) -> None:
    token = trio.lowlevel.current_trio_token()

    def work() -> Found:
        try:
            return _ask(host)
        except Exception as error:  # noqa: BLE001 - whatever it is, every waiter gets it
            return error

    def deliver(done: "Outcome[Found]") -> None:
        with suppress(trio.RunFinishedError):  # no task is left to wake
            token.run_sync_soon(over, done.unwrap())

    trio.lowlevel.start_thread_soon(work, deliver, f"look-up of {host}")
