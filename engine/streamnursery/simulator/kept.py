"""Answers that a simulated provider keeps, and sends again from any event on.

An answer asked for with `background` can be sent again, at the pace at which it is made, until
`MAX_KEPT` others have been asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import attrs

from streamnursery.serving.steps import End, How, Send, Step
from streamnursery.simulator.chat import AnswerSpec
from streamnursery.simulator.told_events import Telling, ToldEvents
from streamnursery.wire.openai_chat.server import ApiError

MAX_KEPT = 10_000
Messages: TypeAlias = Sequence[Mapping[str, Any]]


@attrs.define
class Kept:
    """An answer that can be asked for again."""

    sheet: AnswerSpec
    cancelled_at: float | None = None

    @property
    def messages(self) -> Messages:
        """The conversation up to and with its answer."""
        choice = self.sheet.reply.choices[0]
        return [*self.sheet.question.messages, {"role": "assistant", "content": choice.text}]

    @property
    def done_at(self) -> float:
        """When its last token is made."""
        sheet = self.sheet
        return sheet.first_at + max(0, sheet.reply.output_tokens - 1) * sheet.gap


class Memory:
    """The answers of a provider in one API, the last `MAX_KEPT` of them."""

    def __init__(self, noun: str) -> None:
        """`noun` is what the API calls them."""
        self._noun = noun
        self._kept: dict[str, Kept] = {}

    def keep(self, kept: Kept) -> None:
        self._kept[kept.sheet.id] = kept
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]

    def get(self, answer_id: str) -> Kept:
        """Raises `ApiError` 404 for an unknown one."""
        kept = self._kept.get(answer_id)
        if kept is None:
            msg = f"{self._noun} with id '{answer_id[:80]}' not found."
            raise ApiError(404, msg, code="not_found")
        return kept

    def earlier(self, answer_id: str) -> Messages | None:
        kept = self._kept.get(answer_id)
        return None if kept is None else kept.messages


class Recalling(Telling, Protocol):
    """A writer of such an API."""

    def cancelled(self) -> bytes: ...


T = TypeVar("T", bound=Recalling)


class KeptEvents(ToldEvents[T]):
    """The body of a streamed answer, from the event that comes behind number `behind` on."""

    def __init__(self, kept: Kept, sheet: AnswerSpec, telling: T, behind: int) -> None:
        super().__init__(sheet, telling)
        self._kept = kept
        self._skip = behind + 1

    def steps(self) -> Iterator[Step]:
        for step in super().steps():
            cancelled_at = self._kept.cancelled_at
            if isinstance(step, Send) and cancelled_at is not None and step.at > cancelled_at:
                yield Send(self._event(self._told.cancelled()))
                yield End(How.KEEP, "cancelled")
                return
            if not isinstance(step, Send) or step.data:
                yield step

    def _framed(self, told: list[bytes]) -> bytes:
        """Those of the events that the client has not had."""
        had = min(self._skip, len(told))
        self._skip -= had
        return super()._framed(told[had:])
