"""A prompt that is too long is recognised in the words of every provider, with its numbers."""

import json
from typing import Any

import pytest

from streamnursery.values.errors import (
    ContentError,
    ContextTooLongError,
    EngineError,
    RateLimitedError,
    ServerError,
)
from streamnursery.values.http import HttpHead
from streamnursery.wire.error_answers import error_from_answer, error_in_stream

Told = tuple[str, int | None, int | None]

SENTENCES: dict[str, Told] = {
    "openai": ("This model's maximum context length is 8192 tokens. However, your messages "
               "resulted in 10010 tokens. Please reduce the length of the messages.", 10010, 8192),
    "openai new": ("Your input exceeds the context window of this model. Please adjust your input "
                   "and try again.", None, None),
    "openrouter": ("This endpoint's maximum context length is 131072 tokens. However, you "
                   "requested about 200032 tokens (200000 of text input, 32 in the output).",
                   200032, 131072),
    "anthropic": ("prompt is too long: 200251 tokens > 200000 maximum", 200251, 200000),
    "anthropic sum": ("input length and `max_tokens` exceed context limit: 190000 + 20000 > "
                      "200000, decrease input length or `max_tokens` and try again",
                      210000, 200000),
    "bedrock": ("Input is too long for requested model.", None, None),
    "google": ("The input token count (1200000) exceeds the maximum number of tokens allowed "
               "(1048576).", 1200000, 1048576),
    "mistral": ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 "
                "maximum context length", 40000, 32768),
    "xai": ("This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
            537812, 131072),
    "cohere": ("too many tokens: total number of tokens in the prompt cannot exceed 4081 - "
               "received 5000.", 5000, 4081),
    "tgi": ("Input validation error: `inputs` must have less than 1024 tokens. Given: 3000",
            3000, 1024),
    "together": ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. "
                 "Given: 5000 `inputs` tokens and 512 `max_new_tokens`", 5000, 4097),
    "cerebras": ("Please reduce the length of the messages or completion. Current length is 9000 "
                 "while limit is 8192", 9000, 8192),
    "vllm": ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
             5000, 4096),
    "fireworks": ("The prompt is too long: 5000, model maximum context length: 4096", 5000, 4096),
    "moonshot": ("Invalid request: Your request exceeded model token limit: 131072", None, 131072),
    "alibaba": ("Range of input length should be [1, 30720]", None, 30720),
    "sglang": ("The input (5000 tokens) is longer than the model's context length (4096 tokens).",
               5000, 4096),
    "copilot": ("prompt token count of 13000 exceeds the limit of 12288", 13000, 12288),
    "lm studio": ("Trying to keep the first 5000 tokens when context the overflows. However, the "
                  "model is loaded with context length of only 4096 tokens", 5000, 4096),
    "llama-server": ("request (5000 tokens) exceeds the available context size (4096 tokens), try "
                     "increasing it", 5000, 4096),
    "minimax": ("invalid params, context window exceeds limit", None, None),
}  # fmt: skip


def answer(status: int, error: dict[str, Any]) -> EngineError:
    return error_from_answer(HttpHead(status, ()), json.dumps({"error": error}).encode(), now=0.0)


@pytest.mark.parametrize("told", SENTENCES.values(), ids=SENTENCES)
@pytest.mark.parametrize("status", [400, 413, 422, 500, None])
def test_a_sentence_is_enough(told: Told, status: int | None) -> None:
    text, tokens, window = told
    found = {"message": text, "type": "invalid_request_error", "code": None}
    error = error_in_stream({"error": found}, b"") if status is None else answer(status, found)
    assert type(error) is ContextTooLongError
    assert (error.tokens, error.window) == (tokens, window)
    assert text[:60] in str(error)
    assert not error.retryable


@pytest.mark.parametrize(
    "code", ["context_length_exceeded", "exceed_context_size_error", "prompt_too_long"]
)
@pytest.mark.parametrize("place", ["code", "type"])
def test_a_code_is_enough_whatever_stands_beside_it(code: str, place: str) -> None:
    error = answer(400, {"message": "no", "code": "invalid_value", place: code})
    assert type(error) is ContextTooLongError


def test_llama_servers_numbers_are_fields() -> None:
    error = answer(400, {"code": 400, "message": "the request exceeds the available context size",
                         "type": "exceed_context_size_error", "n_prompt_tokens": 5000,
                         "n_ctx": 4096})  # fmt: skip
    assert isinstance(error, ContextTooLongError)
    assert (error.tokens, error.window) == (5000, 4096)
    assert "(5000 tokens asked for, 4096 tokens possible)" in str(error)


def test_a_number_that_would_have_fitted_is_not_believed() -> None:
    error = answer(400, {"message": "prompt is too long: 10 tokens > 20 maximum"})
    assert isinstance(error, ContextTooLongError)
    assert (error.tokens, error.window) == (None, 20)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (429, {"message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000",
               "code": "rate_limit_exceeded"}, RateLimitedError),
        (429, {"message": "prompt is too long for your tier"}, RateLimitedError),
        (400, {"message": "max_tokens: 99999 > 8192, which is the maximum allowed number of output "
                          "tokens"}, ContentError),
        (400, {"message": "x" * 400 + " prompt is too long"}, ContentError),
        (503, {"message": "context deadline exceeded"}, ServerError),
        (500, {"message": "context deadline exceeded"}, ServerError),
    ],
)  # fmt: skip
def test_other_refusals_are_not_taken_for_it(
    status: int, error: dict[str, Any], kind: type[EngineError]
) -> None:
    assert type(answer(status, error)) is kind


def test_no_header_makes_it_worth_asking_again() -> None:
    body = json.dumps({"error": {"code": "context_length_exceeded"}}).encode()
    head = HttpHead(400, (("x-should-retry", "true"), ("retry-after", "1")))
    assert not error_from_answer(head, body, now=0.0).retryable
