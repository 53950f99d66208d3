"""The messages of a session: from the sender's call to their outcome.

Rule 1: senders that wait for room are accepted in the order in which they came, and none passes
        them. One that is cancelled takes back what was not sent.
"""

from collections import deque
from collections.abc import Callable, Mapping

import msgspec
import trio

from streamnursery.core.sessions.outbox import Outbox, OutboxMessage
from streamnursery.values.errors import OverloadedError, RequestError
from streamnursery.values.session import Pending, SendOutcome
from streamnursery.wire.dialect import SessionDialect
from streamnursery.wire.json_body import encode_body


class Receipt:
    """What `send_nowait` gives: where the outcome will be known."""

    def __init__(self, entry: OutboxMessage) -> None:
        self._entry = entry
        self._settled = trio.Event()
        entry.on_settled = self._tell

    def _tell(self, _: OutboxMessage) -> None:
        self._settled.set()

    @property
    def outcome(self) -> SendOutcome | None:
        """None until it is known."""
        return self._entry.outcome

    @property
    def maybe_sent(self) -> bool:
        """A connection broke under it: it will be sent again, or its outcome is UNKNOWN."""
        return self._entry.maybe_sent

    async def wait(self) -> SendOutcome:
        """Until the outcome is known; it is known in the end."""
        await self._settled.wait()
        assert self._entry.outcome is not None
        return self._entry.outcome


def make_entry(message: object, idempotent: bool | None, dialect: SessionDialect) -> OutboxMessage:
    """`message` in its form on the wire.

    Raises:
        RequestError: it is not a JSON object.
    """
    if isinstance(message, msgspec.Struct):
        message = msgspec.to_builtins(message)
    if not isinstance(message, Mapping):
        msg = f"a message is a mapping or a msgspec struct, not a {type(message).__name__}"
        raise RequestError(msg)
    fields = dict(message)
    data = encode_body(fields)
    if isinstance(data, str):
        raise RequestError(data)
    return OutboxMessage(data, dialect.repeatable(fields) if idempotent is None else idempotent)


class Messages:
    """The outbox, and those who wait in front of it."""

    def __init__(
        self, policy: Pending, check_usable: Callable[[], None], look: Callable[[], None]
    ) -> None:
        """`check_usable` raises when the session is over; `look` wakes who writes."""
        self.outbox = Outbox(policy)
        self._policy = policy
        self._check_usable = check_usable
        self._look = look
        self._room: deque[tuple[OutboxMessage, trio.Event]] = deque()
        self._confirmed = trio.Event()

    async def send(self, entry: OutboxMessage) -> SendOutcome:
        """Its outcome, once that is known."""
        receipt = Receipt(entry)
        if self._policy.when_full == "wait":
            await self._accept_in_turn(entry)
        else:
            self._accept(entry)
        try:
            return await receipt.wait()
        except trio.Cancelled:
            self.outbox.withdraw(entry)
            self.confirmed()
            raise

    def send_nowait(self, entry: OutboxMessage) -> Receipt:
        receipt = Receipt(entry)
        self._accept(entry)
        return receipt

    def confirmed(self) -> None:
        """There may be room, or something to write again."""
        self._confirmed.set()
        self._confirmed = trio.Event()
        while self._room and self.outbox.fits(len(self._room[0][0].data)):
            entry, accepted = self._room.popleft()
            self.outbox.add(entry)
            accepted.set()
        if self.outbox.has_waiting:
            self._look()

    async def wait_confirmed(self) -> None:
        """Until something is confirmed, or lost."""
        await self._confirmed.wait()

    def close(self) -> None:
        """Nothing more will be sent: every sender gets the outcome of its message."""
        self.outbox.close()
        while self._room:
            self._room.popleft()[1].set()

    def _accept(self, entry: OutboxMessage) -> None:
        self._check_usable()
        if self._room or not self.outbox.accept(entry):
            policy = self._policy
            msg = (
                f"the session's pending queue is full ({len(self.outbox)} messages, "
                f"{self.outbox.nbytes} bytes; sessions.pending.max_messages = "
                f"{policy.max_messages}, max_bytes = {policy.max_bytes}); send less, or raise it"
            )
            raise OverloadedError(msg)
        self._look()

    async def _accept_in_turn(self, entry: OutboxMessage) -> None:
        """Wait for room, first come first served."""
        await trio.lowlevel.checkpoint()
        if not self._room and self.outbox.fits(len(entry.data)):
            return self._accept(entry)
        ticket = (entry, trio.Event())
        self._room.append(ticket)
        try:
            await ticket[1].wait()
        except trio.Cancelled:
            if ticket in self._room:
                self._room.remove(ticket)
            else:
                self.outbox.withdraw(entry)
            raise
        self._check_usable()
