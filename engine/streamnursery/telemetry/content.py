"""Prompts and answers as attributes; only where they were asked for."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamnursery.values.partial import Choice
from streamnursery.values.secret import scrubbed

_CUT = " [cut]"


class Writer:
    """Makes JSON of at most so many characters of text, without the engine's keys."""

    def __init__(self, most: int, secrets: Sequence[str]) -> None:
        self._most = most
        self._secrets = secrets

    def prompt(self, messages: Iterable[Mapping[str, Any]]) -> str:
        """The input messages in the shape of `gen_ai.input.messages`, the latest first in line
        for the room there is."""
        room, shown = self._most, []
        for message in reversed(list(messages)):
            parts, room = self._parts(message, room)
            shown.append({"role": str(message.get("role", "user")), "parts": parts})
            if room <= 0:
                break
        return json.dumps(shown[::-1], ensure_ascii=False)

    def answer(self, choices: Iterable[Choice]) -> str:
        """The choices in the shape of `gen_ai.output.messages`."""
        room, shown = self._most, []
        for choice in choices:
            parts: list[dict[str, Any]] = []
            for kind, text in (("reasoning", choice.reasoning), ("text", choice.text)):
                if text:
                    cut, room = self._cut(text, room)
                    parts.append({"type": kind, "content": cut})
            for tool in choice.tool_calls:
                cut, room = self._cut(tool.arguments, room)
                what = {"id": tool.id, "name": tool.name, "arguments": cut}
                parts.append({"type": "tool_call", **what})
            reason = choice.finish_reason or "stop"
            shown.append({"role": "assistant", "parts": parts, "finish_reason": reason})
        return json.dumps(shown, ensure_ascii=False)

    def _parts(self, message: Mapping[str, Any], room: int) -> tuple[list[dict[str, Any]], int]:
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        shown: list[dict[str, Any]] = []
        for part in parts:
            if not isinstance(part, Mapping):
                continue
            if isinstance(text := part.get("text"), str):
                cut, room = self._cut(text, room)
                shown.append({"type": "text", "content": cut})
            else:  # an image or a sound: megabytes, of which no view shows anything
                shown.append({"type": str(part.get("type", "unknown"))})
        return shown, room

    def _cut(self, text: str, room: int) -> tuple[str, int]:
        # Scrubbed before it is cut: half a key would not be found.
        clean = scrubbed(text, self._secrets)
        if len(clean) > max(room, 0):
            return clean[: max(room, 0)] + _CUT, 0
        return clean, room - len(clean)
