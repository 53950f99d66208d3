"""Asking a model to go on with a text, and its answer without what it repeats of that."""

import attrs

from streamnursery.core.recovery.overlap import Overlap
from streamnursery.values.errors import EngineError
from streamnursery.values.events import CONTENT, ChoiceFinished, Finished, StreamEvent, TextDelta
from streamnursery.values.policy import AssistantPrefix
from streamnursery.values.request import ChatRequest
from streamnursery.wire.dialect import Cursor, StreamDecoder

GO_ON = (
    "Your last answer was cut off. Continue it exactly where it ends, from the next character on, "
    "without repeating any of it and without a remark."
)
"""What the user is made to say where a model takes no beginning of its answer."""
_ENDS_THE_TEXT = frozenset((*CONTENT, ChoiceFinished, Finished)) - {TextDelta}


class ContinuedStream:
    """A `StreamDecoder` around another one. Text that may still be a repetition is held back."""

    def __init__(self, inner: StreamDecoder, overlap: Overlap) -> None:
        self._inner = inner
        self._overlap = overlap

    @property
    def done(self) -> bool:
        return self._inner.done

    @property
    def trailing(self) -> bool:
        return self._inner.trailing

    @property
    def failure(self) -> EngineError | None:
        return self._inner.failure

    @property
    def response_id(self) -> str | None:
        return self._inner.response_id

    @property
    def response_model(self) -> str | None:
        return self._inner.response_model

    @property
    def cursor(self) -> Cursor | None:
        """None: what is held back would be lost on the way."""
        return None

    @property
    def buffered(self) -> int:
        return self._inner.buffered

    def feed(self, data: bytes) -> list[StreamEvent]:
        return self._new(self._inner.feed(data))

    def end(self, *, delimited: bool = True) -> list[StreamEvent]:
        return self._new(self._inner.end(delimited=delimited))

    def _new(self, events: list[StreamEvent]) -> list[StreamEvent]:
        found: list[StreamEvent] = []
        for event in events:
            if type(event) is TextDelta:
                text = self._overlap.feed(event.text)
                if text:
                    found.append(TextDelta(text, event.index))
                continue
            if type(event) in _ENDS_THE_TEXT and (text := self._overlap.end()):
                found.append(TextDelta(text))
            found.append(event)
        return found


def with_prefix(request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:
    """`request` with `text` as the beginning of the answer, in the ways of chat servers."""
    message: dict[str, object] = {"role": "assistant", "content": text}
    extra = dict(request.extra)
    if how == "flag":  # DeepSeek, Mistral
        message["prefix"] = True
    elif how == "continue":  # vLLM
        extra |= {"continue_final_message": True, "add_generation_prompt": False}
    messages = [*request.messages, message]
    if how == "user-turn":  # Anthropic's models from Sonnet 4.6 on
        messages.append({"role": "user", "content": GO_ON})
    return attrs.evolve(request, messages=messages, extra=extra)
