"""A whole answer, and the outcome of one request of many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, overload

import attrs

from streamnursery.values.cost import BY_HAND, Cost, total_cost
from streamnursery.values.one_line import cut, line
from streamnursery.values.returned import assistant_message
from streamnursery.values.structured import parsed, parsed_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import TypeVar

    from streamnursery.values.call_options import Call
    from streamnursery.values.errors import AttemptRecord, EngineError
    from streamnursery.values.events import FinishKind
    from streamnursery.values.partial import Choice, ToolCall
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.timings import Timings
    from streamnursery.values.usage import Usage

    Parsed = TypeVar("Parsed", default=Any)
    """Of `response_format`; Any where none was named."""
    T = TypeVar("T")
else:
    from typing import TypeVar

    Parsed = TypeVar("Parsed")


@attrs.frozen(repr=False)
class Completion(Generic[Parsed]):
    """A whole answer with the evidence that it is whole."""

    choices: tuple[Choice, ...]
    usage: Usage | None
    """As the provider reported it; `usage.estimated` says that counts are our own, because it did
    not. None in an answer that was made by hand."""
    timings: Timings
    route: str
    """`endpoint/model` that answered."""
    model: str | None
    """The model's name as the provider reports it."""
    response_id: str | None
    request_id: str | None
    """The provider's id of the HTTP exchange, for its support desk."""
    attempts: tuple[AttemptRecord, ...] = ()
    finish_kind: FinishKind = "other"
    """Why choice 0 ended, in the same words for every provider."""
    dialect: str | None = None
    """That of the endpoint that answered."""
    response_format: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    """As the request had it."""

    @property
    def parsed(self) -> Parsed:
        """The text of choice 0 as a value of the class that `response_format` named; where it was
        a schema or "json_object", as JSON has it. Worked out when it is read. A schema itself is
        not checked here: that is the provider's promise.

        Raises:
            StructuredOutputError: it is none, with `.text` and `.where`.
        """
        choice = self.choices[0] if self.choices else None
        refusal = choice.refusal if choice is not None else ""
        value: Parsed = parsed(self.response_format, self.text, refusal, self.finish_kind)
        return value

    @overload
    def parse(self, call: ToolCall) -> dict[str, Any]: ...

    @overload
    def parse(self, call: ToolCall, kind: type[T]) -> T: ...

    def parse(self, call: ToolCall, kind: type[Any] | None = None) -> Any:
        """The arguments of a tool call: as JSON has them, or as a value of a class that
        `response_format` takes. No arguments at all are an empty object.

        Raises:
            StructuredOutputError: they are none, with `.text` and `.where`.
            RequestError: `kind` is no such class.
        """
        return parsed_arguments(kind, call.arguments or "{}", self.finish_kind)

    def __repr__(self) -> str:
        calls = len(self.tool_calls)
        usage, cost = self.usage, self.cost
        return line(
            "Completion",
            [
                cut(repr(self.text[:40]), 40),  # escapes make a text longer
                f"{calls} tool calls" if calls else "",
                self.finish_kind,
                "" if usage is None else f"{usage.input_tokens} + {usage.output_tokens} tokens",
                "" if cost.money is None else str(cost.money),
                self.route,
            ],
        )

    def message(self, index: int = 0) -> dict[str, Any]:
        """The assistant's message to append to `messages` for the next turn, in the OpenAI shape
        and JSON throughout.

        What only the provider that answered can read - signatures of thoughts, encrypted items,
        blocks of its own tools - stands under the key `streamnursery`, and is sent back to
        endpoints of the same dialect alone.

        Raises:
            IndexError: there is no such choice.
        """
        return assistant_message(self.choices[index], self.dialect)

    @property
    def cost(self) -> Cost:
        """What all attempts cost together; worked out when it is read."""
        return total_cost(self.attempts) if self.attempts else BY_HAND

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


@attrs.frozen(repr=False)
class Outcome:
    """What became of one request of many."""

    index: int
    """Its place in the source, from 0."""
    request: ChatRequest | Call
    """As the source gave it."""
    completion: Completion | None = None
    error: EngineError | None = None
    value: Any = None
    """What the function of a `Call` returned."""
    call_cost: Cost | None = attrs.field(default=None, repr=False)
    """Of a `Call`."""

    def __repr__(self) -> str:
        if self.error is not None:
            said = repr(self.error)
        else:
            text = repr(self.value) if self.completion is None else repr(self.completion.text)
            said = cut(text, 60)
        return line("Outcome", [f"{self.index} {'ok' if self.ok else 'failed'}", said])

    @property
    def ok(self) -> bool:
        return self.error is None and (self.completion is not None or self.call_cost is not None)

    @property
    def cost(self) -> Cost:
        """What the request cost, also where it failed; worked out when it is read. That of a
        `Call` is the price of the tokens that its tries reported."""
        if self.call_cost is not None:
            return self.call_cost
        if self.completion is not None:
            return self.completion.cost
        return total_cost(self.error.attempts if self.error is not None else ())
