"""A whole answer, and what there was of a broken one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from streamnursery.values.errors import EngineError
    from streamnursery.values.records import AttemptRecord, Timings
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.usage import Usage


@attrs.frozen
class ToolCall:
    """A tool call the model asked for. The engine neither parses nor runs it."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@attrs.frozen
class Choice:
    """One answer of the `n` asked for."""

    index: int
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None


@attrs.frozen
class Partial:
    """What was delivered of a stream that did not end well."""

    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """Text of choice 0; empty when nothing was delivered."""
        return self.choices[0].text if self.choices else ""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.choices[0].tool_calls if self.choices else ()

    def __bool__(self) -> bool:
        return any(c.text or c.reasoning or c.refusal or c.tool_calls for c in self.choices)


@attrs.frozen
class Completion:
    """A whole answer with the evidence that it is whole."""

    choices: tuple[Choice, ...]
    usage: Usage | None
    timings: Timings
    route: str
    """`endpoint/model` that answered."""
    model: str | None
    """The model's name as the provider reports it."""
    response_id: str | None
    request_id: str | None
    """The provider's id of the HTTP exchange, for its support desk."""
    attempts: tuple[AttemptRecord, ...] = ()

    @property
    def text(self) -> str:
        return self.choices[0].text if self.choices else ""

    @property
    def reasoning(self) -> str:
        return self.choices[0].reasoning if self.choices else ""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.choices[0].tool_calls if self.choices else ()

    @property
    def finish_reason(self) -> str | None:
        return self.choices[0].finish_reason if self.choices else None


@attrs.frozen
class Outcome:
    """What became of one request of many."""

    index: int
    """Its place in the source, from 0."""
    request: ChatRequest
    completion: Completion | None = None
    error: EngineError | None = None

    @property
    def ok(self) -> bool:
        return self.completion is not None
