"""A model API for inspect_ai: `inspect eval task.py --model streamnursery/MODEL`.

`MODEL` is what `Engine.complete` takes: `gpt-4.1-mini`, `anthropic/claude-haiku-4-5`, `sim/fast`.
All models of a process use one engine, `streamnursery.aio.shared()`, so that its limits, budgets
and statistics hold for the whole evaluation. `-M config=FILE` gives a model an engine with that
configuration, and `--model-base-url` one with that endpoint alone.

Source: https://inspect.aisi.org.uk/extensions.html#model-apis
"""

import json
from contextlib import AsyncExitStack
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    Content,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
    StopReason,
    messages_to_openai,
    modelapi,
)
from inspect_ai.tool import ToolCall, ToolChoice, ToolFunction, ToolInfo

import streamnursery.aio as sn
from streamnursery.errors import ContextTooLongError, EngineError
from streamnursery.values.partial import Choice

MAX_CONNECTIONS = 1_000
"""Samples that inspect_ai may have under way where `--max-connections` says nothing. The engine's
own limits decide how many of them are sent."""
_OPAQUE = "streamnursery"
"""Key of `Completion.message()`, and of `metadata`, for what only the provider can read."""
_STOP: dict[str, StopReason] = {
    "stop": "stop",
    "length": "max_tokens",
    "tool_calls": "tool_calls",
    "refusal": "content_filter",
    "filtered": "content_filter",
    "content_filter": "content_filter",
}
"""By `FinishKind`; and by OpenAI's own words, for the further answers of `n`."""
_SAME_NAME = ("max_tokens", "temperature", "top_p", "seed", "reasoning_effort")
_IN_THE_BODY = (
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "top_k",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
    "verbosity",
)


@modelapi(name="streamnursery")
class StreamnurseryAPI(ModelAPI):
    """Registered as `streamnursery`."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - the signature of the base class
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        source = model_args.pop("config", None)
        if model_args:
            unknown = ", ".join(sorted(model_args))
            msg = f"-M {unknown}: streamnursery takes -M config=FILE alone"
            raise ValueError(msg)
        if base_url is not None:
            if source is not None:
                raise ValueError("--model-base-url and -M config=FILE: give one of them")
            key = {"key": api_key} if api_key else {"auth": "none"}
            source = {"endpoints": {"given": {"url": base_url, **key}}}
        self._source: str | dict[str, Any] | None = source
        self._own = AsyncExitStack()
        self._engine: sn.Engine | None = None

    async def _opened(self) -> sn.Engine:
        if self._engine is None:
            if self._source is None:
                self._engine = sn.shared()
            else:
                self._engine = await self._own.enter_async_context(sn.open_engine(self._source))
        return self._engine

    async def aclose(self) -> None:
        """Close the engine of `-M config=`; the shared one ends with the process."""
        self._engine = None
        await self._own.aclose()

    def max_connections(self) -> int:
        return MAX_CONNECTIONS

    def should_retry(self, ex: Exception) -> bool:
        """Never: the engine has retried what can be retried."""
        return False

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002 - named by the base class
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> tuple[ModelOutput | Exception, ModelCall]:
        engine = await self._opened()
        messages = await openai_messages(input)
        options = request_options(config) | tool_options(tools, tool_choice)
        call = {"model": self.model_name, "messages": messages, **options}
        try:
            completion = await engine.complete(
                self.model_name, messages, timeout=config.timeout, **options
            )
        except ContextTooLongError as error:
            said = ModelOutput.from_content(self.model_name, str(error), "model_length", str(error))
            return said, ModelCall.create(call, {"error": error.category})
        except EngineError as error:
            return error, ModelCall.create(call, {"error": error.category})
        answer = [completion.message(at) for at in range(len(completion.choices))]
        output = ModelOutput(
            model=completion.model or self.model_name,
            choices=[
                _choice(choice, message, choice.finish_reason if at else completion.finish_kind)
                for at, (choice, message) in enumerate(zip(completion.choices, answer, strict=True))
            ],
            usage=_usage(completion.usage),
            time=completion.timings.duration,
            metadata={"route": completion.route, "attempts": len(completion.attempts)},
        )
        return output, ModelCall.create(call, {"choices": answer}, time=completion.timings.duration)


async def openai_messages(messages: list[ChatMessage]) -> list[dict[str, Any]]:
    """The messages in the shape that the engine takes, with what earlier answers of the engine hold
    for their provider alone."""
    shaped: list[dict[str, Any]] = []
    for message, sent in zip(messages, await messages_to_openai(messages), strict=True):
        opaque = (message.metadata or {}).get(_OPAQUE)
        shaped.append({**sent, _OPAQUE: opaque} if opaque is not None else {**sent})
    return shaped


def request_options(config: GenerateConfig) -> dict[str, Any]:
    """The fields of a request that a `GenerateConfig` sets."""
    options = {name: getattr(config, name) for name in _SAME_NAME}
    options["n"] = config.num_choices
    options["stop"] = config.stop_seqs
    if config.response_schema is not None:
        schema = config.response_schema
        described = {
            "name": schema.name,
            "schema": schema.json_schema.model_dump(exclude_none=True),
            "description": schema.description,
            "strict": schema.strict,
        }
        options["response_format"] = {
            "type": "json_schema",
            "json_schema": {name: value for name, value in described.items() if value is not None},
        }
    extra = {name: getattr(config, name) for name in _IN_THE_BODY}
    extra |= config.extra_body or {}
    options["extra"] = {name: value for name, value in extra.items() if value is not None}
    options["headers"] = config.extra_headers
    return {name: value for name, value in options.items() if value not in (None, {})}


def tool_options(tools: list[ToolInfo], choice: ToolChoice) -> dict[str, Any]:
    """The fields of a request that declare tools; none where there are none."""
    if not tools:
        return {}
    declared = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters.model_dump(exclude_none=True),
            },
        }
        for tool in tools
    ]
    asked: object = "required" if choice == "any" else choice
    if isinstance(choice, ToolFunction):
        asked = {"type": "function", "function": {"name": choice.name}}
    return {"tools": declared, "tool_choice": asked}


def _choice(choice: Choice, message: dict[str, Any], ended: str | None) -> ChatCompletionChoice:
    content: str | list[Content] = choice.text
    if choice.reasoning:
        content = [ContentReasoning(reasoning=choice.reasoning), ContentText(text=choice.text)]
    opaque = message.get(_OPAQUE)
    return ChatCompletionChoice(
        message=ChatMessageAssistant(
            content=content,
            source="generate",
            tool_calls=[_tool_call(call) for call in message.get("tool_calls", ())] or None,
            metadata={_OPAQUE: opaque} if opaque is not None else None,
        ),
        stop_reason=_STOP.get(ended or "", "unknown"),
    )


def _tool_call(call: dict[str, Any]) -> ToolCall:
    name, text = call["function"]["name"], call["function"]["arguments"]
    problem = None
    try:
        arguments = json.loads(text or "{}")
    except ValueError as error:
        arguments, problem = {}, f"the arguments of {name} are no JSON: {error}"
    if not isinstance(arguments, dict):
        arguments, problem = {}, f"the arguments of {name} are no JSON object: {text[:200]}"
    return ToolCall(id=call["id"], function=name, arguments=arguments, parse_error=problem)


def _usage(usage: sn.Usage | None) -> ModelUsage | None:
    if usage is None:
        return None
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    return ModelUsage(
        # inspect_ai counts what came from the cache, or went there, apart.
        input_tokens=max(0, (usage.input_tokens or 0) - (cached or 0) - (written or 0)),
        output_tokens=usage.output_tokens or 0,
        total_tokens=usage.total_tokens or 0,
        input_tokens_cache_read=cached,
        input_tokens_cache_write=written,
        reasoning_tokens=usage.reasoning_tokens,
    )
