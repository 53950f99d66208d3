"""What a simulated provider was asked and what it sent: the truth that checkers compare with."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias, overload

import attrs

from streamnursery.simulator.reply import Reply
from streamnursery.simulator.script import Script

Credential: TypeAlias = Literal["not asked", "right", "wrong", "missing"]
HEADERS = (
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "idempotency-key",
    "traceparent",
    "user-agent",
    "x-stainless-retry-count",
    "x-request-id",
)
"""Request headers that are kept; never one that may hold a key."""


@attrs.define
class RequestRecord:
    """One request. Times are trio's."""

    id: str
    """The `x-request-id` of the answer."""
    number: int
    """From 1, in order of arrival."""
    received_at: float
    """When its head was complete."""
    method: str
    path: str
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Those in `HEADERS`."""
    credential: Credential = "not asked"
    response_id: str | None = None
    """Of the answer, in an API that names it."""
    model: str | None = None
    stream: bool = False
    script: Script = ()
    """The faults it met."""
    reply: Reply | None = None
    """All that the provider meant to say; None when it was not a chat completion."""
    status: int | None = None
    """None: no byte of an answer was sent, or it was not HTTP."""
    sent_tokens: int = 0
    """Tokens of `reply`, in order, whose events were handed to the network as far as a client
    needs them: it has read so many at most. 0 for an answer that is not streamed."""
    sent_bytes: int = 0
    """Of the answer, its head included."""
    first_byte_at: float | None = None
    first_token_at: float | None = None
    ended_at: float | None = None
    """None while it is in progress."""
    ending: str = ""
    """"complete", the fault that ended it ("cut", "reset", "status", ...), "client gone",
    "bad request" or "stopped"."""

    @property
    def aborted(self) -> bool:
        """The client went before the end."""
        return self.ending == "client gone"

    def intended(self, choice: int = 0) -> str:
        """The text the provider meant to send."""
        return self.reply.choices[choice].text if self.reply else ""

    def sent(self, choice: int = 0) -> str:
        """The text among the tokens sent, those that a fault spoiled included."""
        if self.reply is None or not self.stream:
            return self.intended(choice) if self.ending == "complete" else ""
        words: list[str] = []
        for count, (index, part, content) in enumerate(self.reply.deltas()):
            if count >= self.sent_tokens:
                break
            if index == choice and part in ("content", "refusal"):
                words.append(content)
        return "".join(words)


class ProviderLog(Sequence[RequestRecord]):
    """The records of the latest requests, oldest first; at most `max_records` of them."""

    def __init__(self, max_records: int) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=max_records)
        self.dropped = 0
        """Records that had to make room."""

    def add(self, record: RequestRecord) -> None:
        self.dropped += len(self._records) == self._records.maxlen
        self._records.append(record)

    @overload
    def __getitem__(self, index: int) -> RequestRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[RequestRecord]: ...
    def __getitem__(self, index: int | slice) -> RequestRecord | list[RequestRecord]:
        return list(self._records)[index] if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[RequestRecord]:
        return iter(self._records)

    def __repr__(self) -> str:
        return f"<ProviderLog of {len(self)} requests, {self.dropped} dropped>"
