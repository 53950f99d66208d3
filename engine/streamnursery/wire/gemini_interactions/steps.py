"""The steps of an interaction while they are sent."""

import json
from collections.abc import Iterator
from typing import Any, Final, Protocol

from streamnursery.values.events import (
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from streamnursery.values.opaque import OpaquePart
from streamnursery.wire.gemini_interactions.content import CONTENT
from streamnursery.wire.json_text import as_raw, clean, finite, objects, text_of

MAX_STEPS: Final = 65_536
"""Of one answer."""


class OpenStep(Protocol):
    """A step that may go on."""

    said: bool
    """It has had events of its own."""
    late: bool
    """It stood in the last event alone."""

    def begin(self, step: dict[str, Any], /) -> list[StreamEvent]:
        """What stands at its start."""

    def take(self, delta: dict[str, Any], /) -> list[StreamEvent]: ...

    def end(self) -> list[StreamEvent]:
        """It goes on no more; called again it says nothing."""


class OutputStep:
    """What the model says to the user."""

    __slots__ = ("late", "said")

    def __init__(self) -> None:
        self.said = self.late = False

    def begin(self, step: dict[str, Any], /) -> list[StreamEvent]:
        return [event for part in objects(step.get("content")) for event in self.take(part)]

    def take(self, delta: dict[str, Any], /) -> list[StreamEvent]:
        kind, text = text_of(delta.get("type")), text_of(delta.get("text"))
        if kind == "text":
            self.said = self.said or bool(text)
            noted = delta.get("annotations")
            told: list[StreamEvent] = [TextDelta(text)] if text else []
            return [*told, _opaque("text_annotation_delta", noted)] if noted else told
        self.said = True
        if kind in CONTENT:
            return [_opaque(kind, delta)]
        return [_opaque(kind or "delta", delta.get("annotations") or delta)]

    def end(self) -> list[StreamEvent]:
        return []


class CallStep:
    """A call of a function of the caller's."""

    __slots__ = ("_index", "_whole", "late", "said")

    def __init__(self, index: int) -> None:
        self.said = self.late = False
        self._index = index
        self._whole: object = None
        """Its arguments, as far as they came in one piece."""

    def begin(self, step: dict[str, Any], /) -> list[StreamEvent]:
        self.said = True
        self._whole = step.get("arguments")
        call_id, name = text_of(step.get("id")) or None, text_of(step.get("name")) or None
        return [ToolCallDelta(self._index, call_id, name)]

    def take(self, delta: dict[str, Any], /) -> list[StreamEvent]:
        arguments = text_of(delta.get("arguments"))
        if not arguments:
            return []
        self._whole = None
        return [ToolCallDelta(self._index, arguments=arguments)]

    def end(self) -> list[StreamEvent]:
        whole, self._whole = self._whole, None
        if not isinstance(whole, dict) or not whole:
            return []
        text = clean(json.dumps(finite(whole), ensure_ascii=False))
        return [ToolCallDelta(self._index, arguments=text)]


class WholeStep:
    """A thought, or a step of the provider's own tools: put together, and handed on when it
    stops. The summary of a thought is told as it comes."""

    __slots__ = ("_step", "kind", "late", "said")

    def __init__(self, kind: str) -> None:
        self.said = self.late = False
        self.kind = kind or "step"
        self._step: dict[str, Any] | None = None

    def begin(self, step: dict[str, Any], /) -> list[StreamEvent]:
        self._step = dict(step)
        return list(_thoughts(step.get("summary")))

    def take(self, delta: dict[str, Any], /) -> list[StreamEvent]:
        step = self._step
        if step is None:
            return []
        self.said = True
        if delta.get("type") == "thought_summary":
            content = delta.get("content")
            step["summary"] = [*objects(step.get("summary")), *objects([content])]
            return list(_thoughts([content]))
        for name, value in delta.items():
            before = step.get(name)
            if name == "type":
                continue
            if isinstance(before, list) and isinstance(value, list):
                value = [*before, *value]
            step[name] = value
        return []

    def end(self) -> list[StreamEvent]:
        step, self._step = self._step, None
        if step is None or step.keys() <= {"type"}:
            return []
        self.said = True
        return [_opaque(self.kind, step)]


def _thoughts(summary: object) -> Iterator[StreamEvent]:
    for part in objects(summary):
        if text := text_of(part.get("text")):
            yield ReasoningDelta(text)


def _opaque(kind: str, value: object) -> OpaquePart:
    return OpaquePart(0, kind, as_raw(value))
