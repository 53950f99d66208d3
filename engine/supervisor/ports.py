"""What the supervisor asks of the layers around it.

The scheduler implements `Admission`, the transport `Transport`, the wire `Dialect`; each is
passed in, so that the supervisor imports none of the layers that call it.
"""

from typing import Protocol

from engine.transport.ports import ByteSink, HttpResponse, Phase, Progress
from engine.values.http import HttpRequest
from engine.values.lifecycle import Record

__all__ = [
    "Admission",
    "AttemptLease",
    "ByteSink",
    "HttpResponse",
    "Phase",
    "Progress",
    "Recorder",
    "Transport",
]


class Transport(Protocol):
    async def open(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        """Send `request`, return when the final response head is there.

        Raises:
            NetworkError, ProtocolError: nothing is left behind. Cancellation likewise.
        """


class AttemptLease(Protocol):
    def release(self) -> None:
        """Give the slots back; synchronous and idempotent."""


class Admission(Protocol):
    max_queued: int

    async def acquire(self, model: str, rank: tuple[int, int], deadline: float) -> AttemptLease:
        """Slots for one attempt.

        Raises:
            AdmissionError: the attempt will not be admitted.
        """

    def binding_limit(self, model: str) -> str:
        """Which limit a request for `model` would wait for, in words."""


class Recorder(Protocol):
    def emit(self, record: Record) -> None:
        """Tell whoever listens; never waits and never raises."""
