"""Answers as JSON: one object when all is said, or one line per event."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import attrs
import msgspec
import trio

from streamnursery.cli.ask_screen import Answer
from streamnursery.cli.console import Output
from streamnursery.cli.exits import exit_code
from streamnursery.values.cost import Cost
from streamnursery.values.errors import EngineError
from streamnursery.values.events import StreamEvent
from streamnursery.values.money import dollars
from streamnursery.values.timings import Timings
from streamnursery.values.usage import Usage


class Lines:
    """One JSON object per event; of several models in the order of arrival.

    `event` is the event's class in snake case; every answer ends with `finished` or `failed`.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._turn = trio.Lock()

    async def show(self, answer: Answer, events: Sequence[StreamEvent]) -> None:
        lines = "".join(_line(answer.model, event) for event in events)
        async with self._turn:
            await self._output.write(lines)

    async def end(self, answer: Answer) -> None:
        if answer.error is not None:
            line = {"model": answer.model, "event": "failed", "error": error_object(answer.error)}
            async with self._turn:
                await self._output.write(dumped(line) + "\n")

    async def run(self, _answers: Sequence[Answer], /) -> None:
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Nothing is held."""


def _line(model: str, event: StreamEvent) -> str:
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    fields = {name: _plain(getattr(event, name)) for name in event.__struct_fields__}
    return dumped({"model": model, "event": kind, **fields}) + "\n"


def _plain(value: object) -> object:
    return usage_object(value) if isinstance(value, Usage) else msgspec.to_builtins(value)


def dumped(value: object) -> str:
    """As JSON on one line; with escapes for what stdout or a terminal could not take."""
    text = json.dumps(value, ensure_ascii=False)
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return text if utf8 and text.isprintable() else json.dumps(value)


def answer_object(answer: Answer) -> dict[str, Any]:
    """Everything about one answer; what there was of it if it was cut short."""
    whole, stream = answer.completion, answer.stream
    partial = answer.partial
    usage = whole.usage if whole else stream.usage if stream else None
    return {
        "model": answer.model,
        "text": whole.text if whole else partial.text,
        "finish_reason": whole.finish_reason if whole else None,
        "refusal": (whole.choices[0].refusal or None) if whole and whole.choices else None,
        "tool_calls": [attrs.asdict(call) for call in (whole or partial).tool_calls],
        "usage": usage_object(usage) if usage else None,
        "cost": cost_object(whole.cost if whole else stream.cost) if stream else None,
        "timings": timings_object(stream.timings) if stream else None,
        "route": whole.route if whole else stream.route if stream else None,
        "response_model": whole.model if whole else None,
        "response_id": whole.response_id if whole else None,
        "request_id": whole.request_id if whole else stream.request_id if stream else None,
        "attempts": len(stream.attempts) if stream else 0,
        "error": _end_of(answer),
    }


def _end_of(answer: Answer) -> dict[str, Any] | None:
    if answer.completion is not None:
        return None
    if answer.error is None:
        return {"category": "cancelled", "message": "interrupted by a signal"}
    return error_object(answer.error)


def error_object(error: EngineError) -> dict[str, Any]:
    """An error without what may quote the prompt."""
    return {
        "category": error.category,
        "type": type(error).__name__,
        "message": str(error),
        "status": error.status,
        "code": error.code,
        "request_id": error.request_id,
        "retryable": error.retryable,
        "retry_after": error.retry_after,
        "exit_code": int(exit_code(error)),
    }


def usage_object(usage: Usage) -> dict[str, Any]:
    """Token counts; null is "not known"."""
    names = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "total_tokens")
    return {name: getattr(usage, name) for name in names}


def cost_object(cost: Cost) -> dict[str, Any]:
    """Dollars as decimal text; `usd` is null where the cost is not known, with the reason."""
    return {
        "usd": None if cost.money is None else dollars(cost.money),
        "reason": cost.reason or None,
        "price_date": None if cost.price_date is None else cost.price_date.isoformat(),
        "source": cost.source or None,
        "estimated": cost.estimated,
        "uncertain_usd": dollars(cost.uncertain),
    }


def timings_object(timings: Timings) -> dict[str, Any]:
    """Durations in seconds."""
    names = ("queue_time", "time_to_first_token", "provider_time_to_first_token", "duration")
    found = {name: getattr(timings, name) for name in names}
    return {name: None if value is None else round(value, 6) for name, value in found.items()}
