"""What proves that a stream is whole. One table per dialect; nothing else says "complete"."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import TypeAlias

from streamnursery.values.errors import (
    ConnectionLostError,
    ContentError,
    EngineError,
    MalformedChunkError,
    ServerError,
    TooLargeError,
    TruncatedStreamError,
    UnexpectedContentError,
)


class Sign(Enum):
    """One thing a decoder has seen."""

    END_MARK = auto()
    """The dialect's own last word."""
    SAID = auto()
    """Content of the answer, or why one of its choices ended."""
    EVERY_CHOICE_FINISHED = auto()
    """A finish reason for every choice asked for and every choice seen."""
    CLEAN_END = auto()
    """The body ended as its framing said it would."""


Evidence: TypeAlias = tuple[frozenset[Sign], ...]
"""Rows of signs; a stream is complete once it shows every sign of one row."""

OPENAI_CHAT: Evidence = (
    frozenset({Sign.END_MARK, Sign.SAID}),
    frozenset({Sign.EVERY_CHOICE_FINISHED, Sign.CLEAN_END}),
)
"""Some servers send `[DONE]` without a finish_reason, and some the other way round. After nothing
`[DONE]` is a proxy's. A finish_reason alone may be followed by an error or by more, so only the
end seals it."""

OPENAI_RESPONSES: Evidence = (frozenset({Sign.END_MARK}),)
"""The response's own last event. `response.incomplete` is one: the model was cut short and says
why, as a finish_reason "length" does. Neither `[DONE]` nor finished items prove anything."""

ANTHROPIC_MESSAGES: Evidence = (frozenset({Sign.END_MARK}),)
"""`message_stop`. A stop_reason in a `message_delta` proves nothing: there may be several."""

GEMINI: Evidence = (frozenset({Sign.EVERY_CHOICE_FINISHED, Sign.CLEAN_END}),)
"""There is no end mark; in every recording the finish reason stands in the last record."""

GEMINI_FAILURES = frozenset([
    "MALFORMED_FUNCTION_CALL",
    "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE",
    "UNEXPECTED_TOOL_CALL",
])
"""The model's answer could not be read by its own server, or the request lacked a signature."""

GEMINI_INTERACTIONS: Evidence = (frozenset({Sign.END_MARK}),)
"""`interaction.completed`. A step that stopped proves nothing, nor does a status before it."""

GEMINI_INTERACTIONS_FAILURES = frozenset({"budget_exceeded", "cancelled", "failed"})
"""Statuses of an interaction whose answer is not whole."""

OPENAI_CHAT_FAILURES = frozenset([
    "abort",
    "aborted",
    "cancelled",
    "canceled",
    "connection_error",
    "engine_error",
    "error",
    "failed",
    "failure",
    "insufficient_system_resource",
    "internal_error",
    "internal_server_error",
    "network_error",
    "overloaded",
    "server_error",
    "service_unavailable",
    "timeout",
    "timed_out",
    "unexpected_error",
    "upstream_error",
])
"""Finish reasons with which a server says that the answer is broken: SGLang and vLLM (abort),
Zhipu (network_error), DeepSeek (insufficient_system_resource), OpenRouter (error) and proxies.
Every other reason is an end like "stop", and is given on."""


def complete(evidence: Evidence, signs: set[Sign]) -> bool:
    return any(row <= signs for row in evidence)


EVIDENCE: Mapping[str, Evidence] = {
    "openai-chat": OPENAI_CHAT,
    "openai-responses": OPENAI_RESPONSES,
    "anthropic-messages": ANTHROPIC_MESSAGES,
    "gemini": GEMINI,
    "gemini-interactions": GEMINI_INTERACTIONS,
    "azure-openai": OPENAI_CHAT,
}
"""By dialect."""
FAILURES: Mapping[str, frozenset[str]] = {
    "openai-chat": OPENAI_CHAT_FAILURES,
    "openai-responses": frozenset({"cancelled", "failed"}),
    "anthropic-messages": frozenset(),
    "gemini": GEMINI_FAILURES,
    "gemini-interactions": GEMINI_INTERACTIONS_FAILURES,
    "azure-openai": OPENAI_CHAT_FAILURES,
}
"""Finish reasons, or statuses of a response, that mean failure, by dialect."""
SIGNS: Mapping[Sign, str] = {
    Sign.END_MARK: "the dialect's own last word",
    Sign.SAID: "content, or a finish reason",
    Sign.EVERY_CHOICE_FINISHED: "a finish reason for every choice",
    Sign.CLEAN_END: "a body that ended as its framing said",
}
BREAKS: tuple[tuple[str, type[EngineError]], ...] = (
    ("the body ends without the signs of a row above", TruncatedStreamError),
    ("the end mark, when nothing was said", TruncatedStreamError),
    (
        "the connection ends before the length that the head had told, end mark or not",
        ConnectionLostError,
    ),
    (
        "a JSON text or a tag outside `data:`, that is no error object, whatever follows it",
        MalformedChunkError,
    ),
    ("an event that is no JSON object, alone or line by line", MalformedChunkError),
    ("a second beginning of an answer, or a block of it that has no end", MalformedChunkError),
    ("a finish reason that means failure", ServerError),
    ("an error object, wherever it stands: the error that it names, such as", ContentError),
    ("a line, an event or a number of choices or tool calls over its bound", TooLargeError),
    ("a body that is no event stream and no whole answer", UnexpectedContentError),
)
"""What breaks an answer in every dialect over server-sent events, and the error."""
