"""Models for the `llm` command: `llm -m streamnursery/sim/fast "Why is the sky blue?"`.

Registered are the models of the configuration (`streamnursery.toml`), `sim/fast`, and those that
`STREAMNURSERY_LLM_MODELS` names, separated by commas. All of them use one engine, that of
`streamnursery.sync.shared()`; the asyncio models use the same one.

Source: https://llm.datasette.io/en/stable/plugins/advanced-model-plugins.html
"""

import json
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, ClassVar

import llm
from llm.models import AsyncConversation, Conversation, Prompt
from llm.parts import (
    AttachmentPart,
    Message,
    ReasoningPart,
    StreamEvent,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from pydantic import Field

import streamnursery.aio
import streamnursery.sync
from streamnursery.config import load_config
from streamnursery.errors import ConfigError, EngineError
from streamnursery.events import ReasoningDelta, TextDelta
from streamnursery.values.events import StreamEvent as Event

PREFIX = "streamnursery/"
MODELS_VARIABLE = "STREAMNURSERY_LLM_MODELS"
_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})


class ModelOptions(llm.Options):
    """`-o NAME VALUE`; a name that is not set is not sent."""

    max_tokens: int | None = Field(default=None, ge=1, description="Tokens of the answer")
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = None
    reasoning_effort: str | None = Field(default=None, description="none, minimal, low, ...")
    timeout: float | None = Field(default=None, gt=0, description="Seconds for the whole answer")
    tenant: str | None = Field(default=None, description="On whose behalf; not sent")


class _PluginModel:
    can_stream = True
    supports_schema = True
    supports_tools = True
    attachment_types = _IMAGES
    needs_key = None
    Options: ClassVar[type[llm.Options]] = ModelOptions

    def __init__(self, model: str) -> None:
        self.model = model
        self.model_id = PREFIX + model

    def __str__(self) -> str:
        return f"streamnursery: {self.model_id}"


class StreamnurseryModel(_PluginModel, llm.Model):
    """A model of the engine, for threads."""

    def execute(
        self,
        prompt: Prompt,
        stream: bool,
        response: llm.Response,
        conversation: Conversation | None,
    ) -> Iterator[str | StreamEvent]:
        engine = streamnursery.sync.shared()
        try:
            with engine.stream(
                self.model, openai_messages(prompt), **request_options(prompt)
            ) as events:
                for event in events:
                    yield from _said(event)
                whole = events.completion()
        except EngineError as error:
            raise llm.ModelError(str(error)) from error
        yield from _ended(whole, response)


class AsyncStreamnurseryModel(_PluginModel, llm.AsyncModel):
    """The same for asyncio."""

    async def execute(
        self,
        prompt: Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: AsyncConversation | None,
    ) -> AsyncGenerator[str | StreamEvent, None]:
        engine = streamnursery.aio.shared()
        try:
            async with engine.stream(
                self.model, openai_messages(prompt), **request_options(prompt)
            ) as events:
                async for event in events:
                    for said in _said(event):
                        yield said  # noqa: ASYNC119 - `llm` wants a generator
                whole = await events.completion()
        except EngineError as error:
            raise llm.ModelError(str(error)) from error
        for said in _ended(whole, response):
            yield said


@llm.hookimpl
def register_models(register: Callable[..., None]) -> None:
    for model in known_models():
        register(StreamnurseryModel(model), AsyncStreamnurseryModel(model))


def known_models() -> list[str]:
    """What `llm models` lists. A configuration with mistakes lists none of its own: `llm` runs
    every plugin at each start, and a question to another model is not to fail for it."""
    named = [name.strip() for name in os.environ.get(MODELS_VARIABLE, "").split(",")]
    try:
        configured = list(load_config().config.models)
    except ConfigError:
        configured = []
    return list(dict.fromkeys(filter(None, ["sim/fast", *configured, *named])))


def openai_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """The prompt and what went before it, in the shape that the engine takes."""
    return [shaped for message in prompt.messages for shaped in _shaped(message)]


def _shaped(message: Message) -> Iterator[dict[str, Any]]:
    texts: list[dict[str, Any]] = []
    media: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    entry: dict[str, Any] = {"role": message.role}
    for part in message.parts:
        if isinstance(part, ToolResultPart):
            yield {"role": "tool", "tool_call_id": part.tool_call_id, "content": part.output}
        elif isinstance(part, TextPart):
            texts.append({"type": "text", "text": part.text})
        elif isinstance(part, AttachmentPart) and part.attachment is not None:
            media.append({"type": "image_url", "image_url": {"url": _url(part.attachment)}})
        elif isinstance(part, ToolCallPart):
            called = {"name": part.name, "arguments": json.dumps(part.arguments)}
            calls.append({"id": part.tool_call_id, "type": "function", "function": called})
        elif isinstance(part, ReasoningPart):
            entry |= part.provider_metadata or {}
    if calls:
        entry["tool_calls"] = calls
    if texts or media or calls:
        said = "".join(part["text"] for part in texts)
        entry["content"] = [*texts, *media] if media else said or None
        yield entry


def _url(attachment: llm.Attachment) -> str:
    return (
        attachment.url or f"data:{attachment.resolve_type()};base64,{attachment.base64_content()}"
    )


def request_options(prompt: Prompt) -> dict[str, Any]:
    """The keywords of `Engine.stream` that a prompt sets."""
    options = {
        name: value for name, value in prompt.options.model_dump().items() if value is not None
    }
    if prompt.schema:
        described = {"name": "output", "schema": prompt.schema}
        options["response_format"] = {"type": "json_schema", "json_schema": described}
    if prompt.tools:
        options["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description or "",
                    "parameters": tool.input_schema,
                },
            }
            for tool in prompt.tools
        ]
    return options


def _said(event: Event) -> Iterator[StreamEvent]:
    match event:
        case TextDelta(text=text):
            yield StreamEvent(type="text", chunk=text)
        case ReasoningDelta(text=text):
            yield StreamEvent(type="reasoning", chunk=text)
        case _:
            pass


def _ended(
    whole: streamnursery.sync.Completion, response: llm.Response | llm.AsyncResponse
) -> Iterator[StreamEvent]:
    """What is known when the answer is whole: calls of tools, counts, and what the next turn has to
    send back."""
    message = whole.message()
    for call in message.get("tool_calls", ()):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        yield StreamEvent(type="tool_call_name", chunk=name, tool_call_id=call["id"])
        if arguments:
            yield StreamEvent(type="tool_call_args", chunk=arguments, tool_call_id=call["id"])
        response.add_tool_call(
            llm.ToolCall(name=name, arguments=_object(name, arguments), tool_call_id=call["id"])
        )
    if "streamnursery" in message:
        held = {"streamnursery": message["streamnursery"]}
        yield StreamEvent(type="reasoning", chunk="", provider_metadata=held)
    usage = whole.usage
    if usage is not None:
        details = {
            "cached_tokens": usage.cached_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        }
        kept = {name: count for name, count in details.items() if count}
        response.set_usage(
            input=usage.input_tokens, output=usage.output_tokens, details=kept or None
        )
    response.set_resolved_model(whole.model or whole.route)


def _object(name: str, arguments: str) -> dict[str, Any]:
    try:
        found = json.loads(arguments or "{}")
    except ValueError as error:
        msg = f"the arguments of the tool {name} are no JSON: {error}"
        raise llm.ModelError(msg) from error
    if not isinstance(found, dict):
        msg = f"the arguments of the tool {name} are no JSON object"
        raise llm.ModelError(msg)
    return found
