"""What a client asks of a simulated provider: a question of its API, and faults in the model."""

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from streamnursery.simulator.grammar import ScriptError, split_model
from streamnursery.simulator.script import Script
from streamnursery.values.request import ChatRequest
from streamnursery.values.returned import KEY
from streamnursery.wire.openai_chat import server
from streamnursery.wire.openai_chat.server import ApiError, ChatQuestion

MAX_OUTPUT = 100_000
"""Tokens of one choice; more are cut off."""


@attrs.frozen(kw_only=True)
class Question(ChatQuestion):
    """A question to one of the models of a provider."""

    plain: str
    """Without the `sim/` before and the query behind it."""
    script: Script = ()
    """From the model's query."""

    @property
    def prefix(self) -> str:
        """The text to go on with: that of a last message which is the assistant's."""
        last = self.messages[-1]
        content = last.get("content")
        return content if last["role"] == "assistant" and isinstance(content, str) else ""


def understood(asked: ChatQuestion) -> Question:
    """Raises `ApiError` 400 for a query that cannot be read."""
    try:
        model, script = split_model(asked.model)
    except ScriptError as error:
        raise ApiError(400, str(error), param="model", code="invalid_script") from None
    fields = attrs.asdict(asked, recurse=False)
    return Question(**fields, plain=model, script=script)


def question_from(body: Mapping[str, Any]) -> Question:
    """From a chat request body's object."""
    return understood(server.question_from(body))


def question_of(request: ChatRequest | Mapping[str, Any]) -> Question:
    """The same question as the engine would ask it, or from a request body's object."""
    if not isinstance(request, ChatRequest):
        return question_from(request)
    names = ("model", "messages", "max_tokens", "stop", "seed", "n", "tools", "tool_choice")
    fields = {name: getattr(request, name) for name in names}
    fields["messages"] = [{k: v for k, v in m.items() if k != KEY} for m in request.messages]
    plain = msgspec.to_builtins({**fields, **request.extra, "stream": True})
    return question_from({name: value for name, value in plain.items() if value is not None})
