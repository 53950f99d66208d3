"""How providers say that a prompt is too long, and with which numbers.

The sentences are those of OpenAI, Azure, DeepSeek, vLLM and OpenRouter ("maximum context length"),
Anthropic and Bedrock ("is too long"), Google ("input token count exceeds"), Mistral, xAI ("maximum
prompt length"), Cohere, TGI and Together ("`inputs` tokens + `max_new_tokens` must be <="),
Cerebras and Groq ("reduce the length"), Fireworks, Moonshot, Alibaba ("range of input length"),
SGLang, LM Studio, Ollama and llama-server ("available context size").
"""

import re
from collections.abc import Mapping

from streamnursery.wire.json_text import count

_REACH = 300
"""Characters of a message that are looked at: what follows may quote the prompt."""

_TOO_LONG = re.compile(
    r"(?:prompt|input|conversation|messages?)(?: length)? (?:(?:is|are) )?too long"
    r"|(?:maximum|max(?:imum)? allowed) (?:context|prompt|model) (?:length|window|size)"
    r"|exceeds? (?:the |its )?(?:available |model\'?s? |maximum )?context"
    r"|(?:larger|longer|greater) than (?:the |its )?(?:model\'?s )?(?:maximum )?"
    r"(?:model|context) (?:length|size|window)"
    r"|context (?:size|window|length|limit)\b.{0,20}\bexceed|exceeds?\b.{0,20}\bmax_model_len"
    r"|input token count\b.{0,40}\bexceeds|prompt token count\b.{0,40}\bexceeds"
    r"|exceeded model token limit|reduce the length of (?:the|your) (?:messages|prompt|input)"
    r"|tokens in the prompt cannot exceed|too many tokens: (?:total|size)"
    r"|`inputs` (?:tokens \+ `max_new_tokens` must be|must have less than)"
    r"|range of input length should be|loaded with context length of only",
    re.IGNORECASE,
)

_N = r"(\d[\d,]{0,14})"
_WINDOWS = (
    rf"> {_N}",
    rf"(?:context|prompt|model) (?:length|size|window|limit)(?: of this model)?"
    rf"(?: is| of| of only|:)? ?\(?{_N}",
    rf"maximum number of tokens allowed \(?{_N}",
    rf"{_N} maximum context length",
    rf"(?:cannot exceed|must be <=|must have less than|limit is|limit of|token limit:|"
    rf"max_model_len(?: of)?) {_N}",
    rf"length should be \[\d+, {_N}\]",
)
_TOKENS = (
    rf"(?:requested(?: about)?|resulted in|contains|received|current length is|is too long:) {_N}",
    rf"(?:prompt|input) \(length {_N}",
    rf"token count (?:of )?\(?{_N}",
    rf"(?:request|input) \({_N} tokens",
    rf"prompt length {_N}",
    rf"Given: {_N}",
    rf"first {_N} tokens",
)
_SUM = re.compile(rf"{_N} \+ {_N} >")
_WINDOW = [re.compile(pattern, re.IGNORECASE) for pattern in _WINDOWS]
_ASKED = [re.compile(pattern, re.IGNORECASE) for pattern in _TOKENS]


def is_too_long(message: str) -> bool:
    """Whether a provider's message says that the prompt exceeds the model's window."""
    return _TOO_LONG.search(message[:_REACH]) is not None


def context_numbers(error: Mapping[str, object], message: str) -> tuple[int | None, int | None]:
    """What the request takes and what the model takes, in tokens; None where it is not said.

    `error` is the error object: llama-server has both as fields of it.
    """
    text = message[:_REACH]
    both = _SUM.search(text)
    tokens = count(error.get("n_prompt_tokens"))
    if tokens is None:
        tokens = _number(both[1]) + _number(both[2]) if both else _first(_ASKED, text)
    window = count(error.get("n_ctx")) or _first(_WINDOW, text)
    # A request that is not larger than the window was not too long: one was misread.
    return (tokens, window) if not tokens or not window or tokens > window else (None, window)


def _first(patterns: list[re.Pattern[str]], text: str) -> int | None:
    found = next((hit for pattern in patterns if (hit := pattern.search(text))), None)
    return _number(found[1]) if found is not None else None


def _number(digits: str) -> int:
    return int(digits.replace(",", ""))
