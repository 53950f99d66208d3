"""What a provider's word for the end of an answer means, by dialect.

A word that is in no table means "other": an unknown end is reported in the provider's
word alone.
"""

from collections.abc import Mapping

from streamnursery.values.events import FinishKind

OPENAI_CHAT_KINDS: Mapping[str, FinishKind] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "filtered",
    "sensitive": "filtered",
    "safety": "filtered",
    "recitation": "filtered",
    "refusal": "refusal",
    "pause_turn": "paused",
}
"""TGI and Together say eos, Mistral model_length, Zhipu sensitive; gateways pass on the words of
Anthropic and of Google."""

OPENAI_RESPONSES_KINDS: Mapping[str, FinishKind] = {
    "completed": "stop",
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "filtered",
}

ANTHROPIC_MESSAGES_KINDS: Mapping[str, FinishKind] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "paused",
    "compaction": "paused",
}

GEMINI_KINDS: Mapping[str, FinishKind] = {
    "stop": "stop",
    "max_tokens": "length",
    "safety": "filtered",
    "recitation": "filtered",
    "language": "filtered",
    "blocklist": "filtered",
    "prohibited_content": "filtered",
    "spii": "filtered",
    "image_safety": "filtered",
    "image_prohibited_content": "filtered",
    "image_recitation": "filtered",
    "model_armor": "filtered",
    "function_call": "tool_calls",
}
"""Google ends calls with STOP; an imitator (aimock) says FUNCTION_CALL."""

GEMINI_INTERACTIONS_KINDS: Mapping[str, FinishKind] = {
    "completed": "stop",
    "requires_action": "tool_calls",
    "incomplete": "length",
    "requires_continuation": "paused",
}


def finish_kind(
    kinds: Mapping[str, FinishKind], reason: str | None, *, calls: bool, refused: bool
) -> FinishKind:
    """`calls`: the answer calls tools, which some servers end with "stop"; `refused`: it holds a
    refusal."""
    kind = kinds.get((reason or "").lower(), "other")
    if kind == "stop" and (calls or refused):
        return "tool_calls" if calls else "refusal"
    return kind
