"""What was delivered of an answer, whether or not it became whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import attrs

if TYPE_CHECKING:
    from streamnursery.values.opaque import OpaquePart
    from streamnursery.values.usage import Usage


@attrs.frozen
class ToolCall:
    """A tool call the model asked for. `Completion.parse` reads its
    arguments; the engine does not run it."""

    index: int
    id: str | None
    name: str | None
    arguments: str
    opaque: tuple[OpaquePart, ...] = ()
    """What the provider said of it besides, in order: the next request has to repeat it."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            hint = "; its name and arguments are its own: call.name, call.arguments"
            raise _no_attribute("ToolCall", name, hint if name == "function" else "")


@attrs.frozen
class PartPlace:
    """How much of a choice had come before one of its opaque parts."""

    text: int
    """Characters."""
    reasoning: int
    """Characters."""
    tool_calls: int
    """How many had begun."""


@attrs.frozen
class Choice:
    """One answer of the `n` asked for."""

    index: int
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    opaque: tuple[OpaquePart, ...] = ()
    """Parts that have no field here, in order: images, audio, signatures."""
    places: tuple[PartPlace, ...] = attrs.field(default=(), repr=False)
    """Where each of `opaque` stood."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            hint = "; its text is its own: completion.text, or completion.choices[0].text"
            raise _no_attribute("Choice", name, hint if name in ("message", "delta") else "")


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
        return any(
            c.text or c.reasoning or c.refusal or c.tool_calls or c.opaque for c in self.choices
        )


def _no_attribute(owner: str, name: str, hint: str) -> AttributeError:
    return AttributeError(f"{owner!r} object has no attribute {name!r}{hint}")
