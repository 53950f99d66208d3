"""One interaction, event by event.

Rule 1: nothing is raised. A failure is kept, after the events before it; nothing follows it.
Rule 2: complete is what `evidence.GEMINI_INTERACTIONS` calls complete: `interaction.completed` with
        a status that is no failure. `requires_action` is such an end: the caller's tools are next.
Rule 3: what was sent in pieces is taken from the pieces. A step that only came whole, at its start
        or in the last event, is taken from there, once.
Rule 4: text, summaries of thoughts and calls of the caller's functions have events. Thoughts and
        the provider's own tools are handed on whole as `OpaquePart`s when they stop: the next
        request has to repeat them.
Rule 5: the event whose id was the last before a break is old news when it comes again.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from streamnursery.values.errors import EngineError, TooLargeError, TruncatedStreamError
from streamnursery.values.events import (
    ChoiceFinished,
    Finished,
    StreamEvent,
    TextDelta,
    UsageReport,
)
from streamnursery.wire.dialect import Cursor
from streamnursery.wire.error_answers import error_in_stream, is_error
from streamnursery.wire.evidence import (
    GEMINI_INTERACTIONS,
    GEMINI_INTERACTIONS_FAILURES,
    Sign,
    complete,
)
from streamnursery.wire.finish_kinds import GEMINI_INTERACTIONS_KINDS, finish_kind
from streamnursery.wire.gemini_interactions.steps import (
    MAX_STEPS,
    CallStep,
    OpenStep,
    OutputStep,
    WholeStep,
)
from streamnursery.wire.gemini_interactions.usage import read_usage
from streamnursery.wire.json_text import count, objects, read_json, text_of
from streamnursery.wire.sse_stream import MAX_TOOL_CALLS

if TYPE_CHECKING:
    from streamnursery.values.usage import Usage
    from streamnursery.wire.gemini_interactions.event import Event, TextPiece

_PATH_WORD = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_UNDONE = frozenset({"in_progress", "queued", "idle"})
"""Statuses of an interaction that goes on."""


class InteractionTurn:
    """Turns the events of one interaction into stream events."""

    __slots__ = (
        "_calls",
        "_kept",
        "_last",
        "_old",
        "_steps",
        "_usage",
        "done",
        "failure",
        "response_id",
        "response_model",
        "trailing",
    )

    def __init__(self, *, kept: bool) -> None:
        self.done = False
        self.trailing = False
        self.failure: EngineError | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self._kept = kept
        self._last: str | None = None
        """`event_id` of the last event."""
        self._old: str | None = None
        """The one before a break."""
        self._steps: dict[int, OpenStep] = {}
        self._calls = 0
        self._usage: Usage | None = None

    @property
    def cursor(self) -> Cursor | None:
        if not self._kept or self._last is None or self.response_id is None:
            return None
        if not _PATH_WORD.fullmatch(self.response_id):
            return None  # it would become a part of a path
        return Cursor(self.response_id, self._last)

    def go_on(self) -> None:
        """Take up the answer again behind the last event, after its stream had broken off."""
        self.failure = None
        self._old = self._last

    def take_text(self, piece: TextPiece, events: list[StreamEvent]) -> None:
        """As `take_event`, for the event that most events are."""
        if self._is_old(piece.event_id):
            return
        step = self._steps.get(piece.index)
        if type(step) is OutputStep:
            step.said = True
            if piece.delta.text:
                events.append(TextDelta(piece.delta.text))
        else:
            self._take_delta(piece.index, {"type": "text", "text": piece.delta.text}, events)

    def take_event(
        self, event: Event, data: bytes, events: list[StreamEvent], name: str = ""
    ) -> None:
        """Add what `event` says. `data` is the event as it came, `name` its type where the event
        itself does not say it."""
        kind = event.event_type if isinstance(event.event_type, str) else name
        if kind in ("", "error"):
            self._take_error(kind, event.error, data)
        elif not self._is_old(event.event_id):
            place = count(event.index)
            if isinstance(event.interaction, dict):
                self._take_interaction(kind, event.interaction, data, events)
            elif kind == "interaction.status_update":
                self._take_status(text_of(event.status), data)
            elif place is not None:
                self._take_step(kind, place, event, events)

    def _take_error(self, kind: str, error: object, data: bytes) -> None:
        told = {"error": error if isinstance(error, dict) else {"code": "server_error"}}
        value = told if kind else read_json(data)
        if is_error(value):
            self.failure = error_in_stream(value, data)

    def _is_old(self, event_id: object) -> bool:
        if not isinstance(event_id, str):
            return False
        self._last = event_id
        old, self._old = self._old, None
        return event_id == old

    def _take_step(self, kind: str, place: int, event: Event, events: list[StreamEvent]) -> None:
        if kind == "step.start" and isinstance(event.step, dict):
            self._open(place, event.step, events)
        elif kind == "step.delta" and isinstance(event.delta, dict):
            self._take_delta(place, event.delta, events)
        elif kind == "step.stop":
            self._take_usage(event.usage, events)
            if place in self._steps:
                events += self._steps[place].end()

    # Steps. -------------------------------------------------------------------------------------

    def _open(self, place: int, step: dict[str, Any], events: list[StreamEvent]) -> None:
        if place in self._steps:
            return
        if len(self._steps) >= MAX_STEPS:
            self.failure = _too_many("steps", MAX_STEPS)
            return
        kind = text_of(step.get("type"))
        opened: OpenStep
        if kind == "function_call":
            if self._calls >= MAX_TOOL_CALLS:
                self.failure = _too_many("tool calls", MAX_TOOL_CALLS)
                return
            opened = CallStep(self._calls)
            self._calls += 1
        else:
            opened = OutputStep() if kind == "model_output" else WholeStep(kind)
        self._steps[place] = opened
        events += opened.begin(step)
        if kind == "model_output" and step.get("error"):
            self.failure = error_in_stream({"error": step["error"]}, b"")

    def _take_delta(self, place: int, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        if place not in self._steps:
            # A server that starts no steps, or the rest of a step that began before a break.
            thinks = text_of(delta.get("type")).startswith("thought_")
            self._open(place, {"type": "thought" if thinks else "model_output"}, events)
        if self.failure is None:
            events += self._steps[place].take(delta)

    # The interaction itself. --------------------------------------------------------------------

    def _take_interaction(
        self, kind: str, value: dict[str, Any], data: bytes, events: list[StreamEvent]
    ) -> None:
        self.response_id = self.response_id or text_of(value.get("id")) or None
        self.response_model = self.response_model or text_of(value.get("model")) or None
        if kind != "interaction.completed":
            return
        for place, step in enumerate(objects(value.get("steps"))):
            if self.failure is None and text_of(step.get("type")) != "user_input":
                self._take_late(place, step, events)
        for opened in self._steps.values():
            events += opened.end()
        self._take_usage(value.get("usage"), events)
        status = text_of(value.get("status")) or "completed"
        self._take_status(status, data, value.get("error"))
        if self.failure is None:
            self._finish(status, events)

    def _take_late(self, place: int, step: dict[str, Any], events: list[StreamEvent]) -> None:
        """A step of the last event, if the stream held nothing of it. Where the stream held steps
        it is not known which of these they were: their places may count the input too."""
        if not any(known.said for known in self._steps.values() if not known.late):
            self._open(place, step, events)
            if place in self._steps:
                self._steps[place].late = True

    def _take_status(self, status: str, data: bytes, error: object = None) -> None:
        if self.failure is not None or status not in GEMINI_INTERACTIONS_FAILURES:
            return
        if status == "cancelled":
            msg = "the provider ended the interaction as cancelled: the answer is not whole"
            self.failure = TruncatedStreamError(msg, status=200, retryable=False)
            return
        told = error if isinstance(error, dict) else {"code": "server_error", "message": status}
        self.failure = error_in_stream({"error": told}, data or json.dumps(told).encode())

    def _take_usage(self, raw: object, events: list[StreamEvent]) -> None:
        usage = read_usage(raw) if isinstance(raw, dict) else None
        if usage is not None and usage != self._usage:
            self._usage = usage
            events.append(UsageReport(usage))

    def _finish(self, status: str, events: list[StreamEvent]) -> None:
        if status in _UNDONE or not complete(GEMINI_INTERACTIONS, {Sign.END_MARK}):
            msg = f"the provider completed an interaction that is {status}: it is not whole"
            self.failure = TruncatedStreamError(msg, status=200)
            return
        self.done = True
        kind = finish_kind(
            GEMINI_INTERACTIONS_KINDS, status, calls=bool(self._calls), refused=False
        )
        events += [ChoiceFinished(0, status), Finished(status, kind)]


def _too_many(what: str, bound: int) -> TooLargeError:
    msg = f"the stream has more than {bound:,} {what}: no model answers like that"
    return TooLargeError(msg, status=200)
