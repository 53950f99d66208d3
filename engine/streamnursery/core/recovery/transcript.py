"""What a stream has said so far, folded from its events."""

from itertools import accumulate
from typing import TYPE_CHECKING

import attrs

from streamnursery.values.events import (
    ChoiceFinished,
    ReasoningDelta,
    RefusalDelta,
    Restarted,
    Resumed,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from streamnursery.values.opaque import OpaquePart
from streamnursery.values.partial import Choice, Partial, PartPlace, ToolCall

if TYPE_CHECKING:
    from streamnursery.values.usage import Usage


@attrs.define
class _Tool:
    id: str | None = None
    name: str | None = None
    arguments: list[str] = attrs.field(factory=list)
    opaque: list[OpaquePart] | None = None


@attrs.define
class _Parts:
    """Of one choice; most have text and nothing else."""

    text: list[str] = attrs.field(factory=list)
    reasoning: list[str] | None = None
    refusal: list[str] | None = None
    tools: dict[int, _Tool] | None = None
    opaque: list[OpaquePart] | None = None
    places: list[tuple[int, int, int]] | None = None
    """Of each of `opaque`: pieces of text, pieces of reasoning and tool calls before it."""
    reason: str | None = None


class Transcript:
    """Grows by the text of a stream and nothing else; `Restarted` empties it. `usage` is that of
    the attempt since the last mark."""

    __slots__ = ("_parts", "characters", "usage")

    def __init__(self) -> None:
        self.characters = 0
        """Of text, reasoning, refusals and arguments of tools: kept, since summing them up each
        time it is read would make long streams quadratic."""
        self._parts: dict[int, _Parts] = {}
        self.usage: Usage | None = None

    def add(self, events: list[StreamEvent]) -> None:
        # One string per read and not one per token: the events themselves are not kept.
        if len(events) == 1:
            event = events[0]
            parts = self._parts.get(0)
            if type(event) is TextDelta and not event.index and parts is not None:
                parts.text.append(event.text)
                self.characters += len(event.text)
            else:
                self._add_one(event)
            return
        texts = [e.text for e in events if type(e) is TextDelta and e.index == 0]
        if len(texts) == len(events):
            text = "".join(texts)
            self.characters += len(text)
            (self._parts.get(0) or self._of(0)).text.append(text)
        else:
            self._add_mixed(events)

    def _add_mixed(self, events: list[StreamEvent]) -> None:
        """A read that holds a whole answer has its end too: text between the others is joined."""
        texts: list[str] = []
        for event in events:
            if type(event) is TextDelta and event.index == 0:
                texts.append(event.text)
                continue
            if texts:
                self._add_one(TextDelta("".join(texts)))
                texts.clear()
            self._add_one(event)
        if texts:
            self._add_one(TextDelta("".join(texts)))

    def _add_one(self, event: StreamEvent) -> None:
        match event:
            case TextDelta(text, index):
                self._of(index).text.append(text)
                self.characters += len(text)
            case ReasoningDelta(text, index):
                parts = self._of(index)
                parts.reasoning = parts.reasoning or []
                parts.reasoning.append(text)
                self.characters += len(text)
            case RefusalDelta(text, index):
                parts = self._of(index)
                parts.refusal = parts.refusal or []
                parts.refusal.append(text)
                self.characters += len(text)
            case ToolCallDelta():
                self._add_tool(event)
            case OpaquePart():
                self._add_opaque(event)
            case ChoiceFinished(index, reason):
                self._of(index).reason = reason
            case UsageReport(usage):
                self.usage = usage
            case Restarted():
                self._parts.clear()
                self.characters = 0
                self.usage = None
            case Resumed():
                self.usage = None
            case _:
                pass

    def _add_tool(self, delta: ToolCallDelta) -> None:
        tool = self._tool(delta.index, delta.tool_index)
        # Some providers repeat id and name in every piece: the first one stands.
        tool.id = tool.id or delta.id
        tool.name = tool.name or delta.name
        tool.arguments.append(delta.arguments)
        self.characters += len(delta.arguments)

    def _add_opaque(self, part: OpaquePart) -> None:
        parts = self._of(part.index)
        holder: _Parts | _Tool = parts
        if part.tool_index is not None:
            holder = self._tool(part.index, part.tool_index)
        else:
            parts.places = parts.places or []
            parts.places.append((
                len(parts.text),
                len(parts.reasoning or ()),
                len(parts.tools or ()),
            ))
        holder.opaque = holder.opaque or []
        holder.opaque.append(part)

    def _tool(self, index: int, tool_index: int) -> _Tool:
        parts = self._of(index)
        parts.tools = parts.tools or {}
        return parts.tools.setdefault(tool_index, _Tool())

    def _of(self, index: int) -> _Parts:
        parts = self._parts.get(index)
        if parts is None:
            parts = self._parts[index] = _Parts()
        return parts

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        """Of the choices that have ended, in the provider's own words."""
        parts = (self._parts[index] for index in sorted(self._parts))
        return tuple(part.reason for part in parts if part.reason is not None)

    def choices(self) -> tuple[Choice, ...]:
        """The choices in order of their index, with what each has so far."""
        return tuple(_choice(i, parts) for i, parts in sorted(self._parts.items()))

    def partial(self) -> Partial:
        return Partial(self.choices(), self.usage)


def _choice(index: int, parts: _Parts) -> Choice:
    return Choice(
        index=index,
        text="".join(parts.text),
        reasoning="".join(parts.reasoning or ()),
        refusal="".join(parts.refusal or ()),
        tool_calls=tuple(
            ToolCall(i, tool.id, tool.name, "".join(tool.arguments), tuple(tool.opaque or ()))
            for i, tool in sorted((parts.tools or {}).items())
        ),
        finish_reason=parts.reason,
        opaque=tuple(parts.opaque or ()),
        places=_places(parts),
    )


def _places(parts: _Parts) -> tuple[PartPlace, ...]:
    if not parts.places:
        return ()
    text = list(accumulate(map(len, parts.text), initial=0))
    reasoning = list(accumulate(map(len, parts.reasoning or ()), initial=0))
    return tuple(PartPlace(text[t], reasoning[r], calls) for t, r, calls in parts.places)
