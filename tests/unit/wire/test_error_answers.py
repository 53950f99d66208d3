"""What an answer that is no stream means: the class, whether to retry, when, and no leak."""

import json
from pathlib import Path
from typing import Any

import pytest

from streamnursery.values.errors import (
    AuthError,
    ContentError,
    ContextTooLongError,
    EngineError,
    ModelError,
    QuotaError,
    RateLimitedError,
    ServerError,
    UnexpectedContentError,
)
from streamnursery.values.http import HttpHead
from streamnursery.wire.error_answers import error_from_answer, error_in_stream, request_id

CANARY = "canary-0d1f"


def answer(status: int, body: object = b"", **headers: str) -> EngineError:
    names = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return error_from_answer(HttpHead(status, names), raw, now=0.0)


def said(message: str = "", **fields: object) -> dict[str, object]:
    return {"error": {"message": message, **fields}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ContentError),
        (401, AuthError),
        (402, QuotaError),
        (403, AuthError),
        (404, ModelError),
        (405, ContentError),
        (407, AuthError),
        (408, ServerError),
        (409, ServerError),
        (410, ModelError),
        (413, ContentError),
        (422, ContentError),
        (425, ServerError),
        (429, RateLimitedError),
        (451, AuthError),
        (498, RateLimitedError),
        (499, ServerError),
        (500, ServerError),
        (502, ServerError),
        (503, ServerError),
        (504, ServerError),
        (529, ServerError),
        (599, ServerError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b'{"error":', b"[]", b'{"detail":"no"}'])
def test_a_status_alone_has_a_class(status: int, kind: type[EngineError], body: bytes) -> None:
    error = answer(status, body)
    assert type(error) is kind
    assert error.status == status
    assert error.retryable is (kind in {ServerError, RateLimitedError})
    assert error.body == body.decode()
    assert error.code is None
    assert f"answered {status}: " in str(error)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, said(type="insufficient_quota", code="insufficient_quota"), QuotaError),
        (429, said(type="insufficient_quota", code="rate_limit_exceeded"), QuotaError),
        (429, said("You exceeded your current quota, please check your plan"), QuotaError),
        (400, said("Your credit balance is too low", type="invalid_request_error"), QuotaError),
        (403, said("Key limit exceeded", code=403), QuotaError),
        (429, said("exceeded your current quota", code=429, status="RESOURCE_EXHAUSTED"),
         RateLimitedError),
        (429, said(type="tokens", code="rate_limit_exceeded"), RateLimitedError),
        (400, {"__type": "ThrottlingException", "message": "slow"}, RateLimitedError),
        (401, said(type="invalid_request_error", code="invalid_api_key"), AuthError),
        (401, said("You didn't provide an API key", type="invalid_request_error"), AuthError),
        (400, said("API key not valid. Please pass a valid API key.", code=400,
                   status="INVALID_ARGUMENT"), AuthError),
        (403, said("no", type="permission_error"), AuthError),
        (403, said("Project p does not have access to model m", code="model_not_found"),
         ModelError),
        (403, said("You don't have access to the requested model", type="permission_error"),
         ModelError),
        (400, said(code="model_not_found", type="invalid_request_error"), ModelError),
        (400, said("Model Not Exist", type="invalid_request_error"), ModelError),
        (404, said(code="DeploymentNotFound"), ModelError),
        (400, said(code="model_decommissioned"), ModelError),
        (403, said("your input was flagged", code=403), ContentError),
        (400, said(code="content_filter", type=None), ContentError),
        (400, said(code="context_length_exceeded"), ContextTooLongError),
        (500, said(code="ResponsibleAIPolicyViolation"), ContentError),
        (529, {"type": "error", "error": {"type": "overloaded_error"}}, ServerError),
        (429, said(type="engine_overloaded_error"), ServerError),
        (400, said(type="server_error"), ServerError),
        (503, [{"error": {"code": 503, "status": "UNAVAILABLE"}}], ServerError),
        (404, {"message": "model 'x' not found"}, ModelError),
        (422, {"error": "bad parameter"}, ContentError),
        (500, {"error": ["odd"]}, ServerError),
        (400, {"error": {"message": 5, "code": True, "type": ["x"]}}, ContentError),
    ],
)  # fmt: skip
def test_a_providers_words_tell_more_than_its_status(
    status: int, body: object, kind: type[EngineError]
) -> None:
    error = answer(status, body)
    assert type(error) is kind
    assert error.status == status


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        # OpenAI, Azure
        (429, said("The engine is currently overloaded", type="server_error"), ServerError),
        (403, said("Country, region, or territory not supported", type="request_forbidden"),
         AuthError),
        (403, said("Out of call volume quota. It will be replenished in 2 days", code="403"),
         QuotaError),
        # Anthropic
        (400, said("You have reached your specified API usage limits. You will regain access on "
                   "2026-01-01", type="invalid_request_error"), QuotaError),
        # Google
        (400, said("User location is not supported", code=400, status="FAILED_PRECONDITION"),
         AuthError),
        # OpenRouter, LiteLLM
        (400, said("foo/bar is not a valid model ID", code=400), ContentError),
        (400, said("Invalid model name passed in model=foo", code="400"), ContentError),
        (400, said("Budget has been exceeded! Current cost: 1", type="budget_exceeded"),
         QuotaError),
        # TGI, Moonshot, Zhipu, Alibaba, xAI
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, ServerError),
        (424, {"error": "Request failed during generation", "error_type": "generation"},
         ServerError),
        (429, said("You exceeded your current token quota", type="exceeded_current_quota_error"),
         QuotaError),
        (429, said("Your account is in arrears, please recharge", code="1113"), QuotaError),
        (400, said("Access denied", type="Arrearage", code="Arrearage"), QuotaError),
        (403, {"code": "The caller does not have permission", "error": "The team has no credits"},
         QuotaError),
        # AWS
        (400, {"__type": "com.amazon.coral.service#ThrottlingException"}, RateLimitedError),
        (400, {"message": "The provided model identifier is invalid."}, ContentError),
    ],
)  # fmt: skip
def test_other_providers_words_are_read_too(
    status: int, body: object, kind: type[EngineError]
) -> None:
    assert type(answer(status, body)) is kind


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "ThrottlingException", RateLimitedError),
        (400, "ServiceQuotaExceededException", QuotaError),
        (429, "ModelNotReadyException", ServerError),
        (424, "ModelErrorException", ServerError),
        (400, "ValidationException", ContentError),
        (403, "ExpiredTokenException", AuthError),
    ],
)
def test_aws_names_its_errors_in_a_header(status: int, name: str, kind: type[EngineError]) -> None:
    full = f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    error = answer(status, {"message": "no"}, x_amzn_errortype=full)
    assert type(error) is kind
    assert error.code == name


def test_a_request_above_a_minutes_limit_is_not_cured_by_waiting() -> None:
    for status in (413, 429):
        body = said("Request too large for gpt-4o on tokens per min (TPM)", type="tokens",
                    code="rate_limit_exceeded")  # fmt: skip
        error = answer(status, body)
        assert type(error) is RateLimitedError
        assert not error.retryable


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (said(type="overloaded_error"), ServerError),
        (said(code=429), RateLimitedError),
        (said(code="402"), QuotaError),
        (said(status_code=400), ContentError),
        (said(type="permission_denied"), AuthError),
        (said(type="BadRequestError"), ContentError),
        (said("insufficient balance"), QuotaError),
        (said(code=200), ServerError),
        (said(), ServerError),
        ({"error": "something"}, ServerError),
        ("something", ServerError),
        ([], ServerError),
        (None, ServerError),
    ],
)
def test_an_error_inside_a_stream_is_classed_by_its_words_and_keeps_status_200(
    value: object, kind: type[EngineError]
) -> None:
    error = error_in_stream(value, b"raw")
    assert type(error) is kind
    assert error.status == 200
    assert error.body == "raw"


def test_the_message_names_a_known_code_and_says_what_to_do() -> None:
    error = answer(429, said(code="rate_limit_exceeded"))
    assert str(error) == (
        "the provider answered 429 (rate_limit_exceeded): too many requests or tokens; "
        "wait, or lower the model's max_streams"
    )


def test_a_refusal_shows_what_the_provider_says() -> None:
    error = answer(400, said("  temperature:\n must be\tbelow \x1b[31m2 \u202e"))
    assert str(error).endswith('; it says: "temperature: must be below [31m2"')
    assert str(answer(503, b"busy now")).endswith('; it says: "busy now"')
    assert str(answer(200, b"busy now")).endswith('; it says: "busy now"')
    assert str(error_in_stream("stopped", b"stopped")).endswith('; it says: "stopped"')


def test_a_message_quotes_nothing_but_words_for_people() -> None:
    for status in (200, 204, 400, 401, 403, 404, 429, 500):
        error = answer(status, said(code=CANARY, type=CANARY, param=CANARY), content_type=CANARY)
        assert CANARY not in str(error)
        assert error.code == CANARY
        error = answer(status, f"<html>{CANARY}".encode(), content_type=CANARY)
        assert CANARY not in str(error)


@pytest.mark.parametrize("text", ["word " * 400, "x" * 5000, "a " + "y" * 299 + " z", "z" * 301])
def test_at_most_300_characters_are_quoted_and_no_word_is_cut(text: str) -> None:
    told, _, words = str(answer(400, said(text))).partition('; it says: "')
    assert told.endswith("a parameter of the request")
    assert len(words) <= 304
    assert set(words.removesuffix('..."').split()) <= set(text.split())


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-0123456789abcdef",
        "AIzaSyA0123456789abcdef",
        "Bearer 0123456789ab",
        f"gsk_{0:050}",
    ],
)
def test_what_looks_like_a_key_is_not_quoted(key: str) -> None:
    error = answer(401, said(f"Incorrect API key provided: {key}. Get one."))
    assert key not in str(error)
    assert "provided: ***" in str(error)


def test_at_most_2_kib_of_a_body_and_64_characters_of_a_code_are_kept() -> None:
    error = answer(500, "é".encode() * 5000)
    assert error.body is not None
    assert len(error.body.encode()) == 2048
    error = answer(500, said(code="x\ud800" * 500))
    assert error.code is not None
    assert len(error.code) == 64
    assert error.code.encode()


@pytest.mark.parametrize(
    ("verdict", "status", "code", "retryable"),
    [
        ("true", 400, None, True),
        ("false", 500, None, False),
        (" TRUE ", 401, None, True),
        ("maybe", 500, None, True),
        ("true", 429, "insufficient_quota", False),
        ("false", 429, None, False),
    ],
)
def test_x_should_retry_overrules_the_class_but_not_for_quota(
    verdict: str, status: int, code: str | None, retryable: bool
) -> None:
    error = answer(status, said(code=code), x_should_retry=verdict)
    assert error.retryable is retryable


def test_the_header_says_when_before_details_and_message_do() -> None:
    google = said(
        "Please retry in 7s",
        code=429,
        status="RESOURCE_EXHAUSTED",
        details=[{"@type": "google.rpc.RetryInfo", "retryDelay": "31s"}],
    )
    assert answer(429, google, retry_after="5").retry_after == 5
    assert answer(429, google).retry_after == 31
    assert answer(429, said("Please retry in 7s")).retry_after == 7
    assert answer(400, said("Please retry in 7s")).retry_after is None
    assert answer(503, b"", retry_after="Thu, 01 Jan 1970 00:00:09 GMT").retry_after == 9


def test_the_request_id_comes_from_the_header_or_else_the_body() -> None:
    assert answer(500, {"request_id": "b", **said()}, x_request_id="a").request_id == "a"
    assert answer(500, {"request_id": "b", **said()}).request_id == "b"
    assert answer(500).request_id is None
    for name in ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid"):
        assert request_id(HttpHead(200, (("date", "x"), (name, "a")))) == "a"
    assert request_id(HttpHead(200, (("x-request-id", ""),))) is None


@pytest.mark.parametrize(
    ("status", "body", "retryable", "word"),
    [
        (200, b"<html>no</html>", True, "HTML"),
        (200, b"  <!DOCTYPE html>", True, "HTML"),
        (200, b'{"choices":[]}', False, "JSON"),
        (200, b"[1]", False, "JSON"),
        (200, b"", False, "nothing"),
        (204, b"", False, "nothing"),
        (200, b"hello", True, "text"),
        (200, b"[hello", True, "text"),
        (304, b"", False, "nothing"),
        (200, b'{"cut": ', True, "broken JSON"),
        (200, b'{"as": 1}\n{"lines": 2}\n', False, "JSON"),
        (200, b'{"long": "' + b"x" * 64 * 1024, False, "JSON"),
    ],
)
def test_h6_a_success_that_is_no_stream_is_unexpected_content(
    status: int, body: bytes, retryable: bool, word: str
) -> None:
    error = answer(status, body)
    assert type(error) is UnexpectedContentError
    assert (error.status, error.retryable) == (status, retryable)
    assert f"answered {status} with {word} instead of an event stream" in str(error)
    assert error.body == body[:2048].decode()


def test_h6_a_json_error_object_with_status_200_is_the_error_it_says() -> None:
    error = answer(200, said(code="insufficient_quota"), x_request_id="a")
    assert type(error) is QuotaError
    assert (error.status, error.request_id) == (200, "a")


RETRIED = {"quota": False, "overloaded": True, "not found": False, "bad request": False}
CLASSES: dict[str, set[type[EngineError]]] = {
    "quota": {QuotaError},
    "overloaded": {ServerError},
    "not found": {ModelError},
    "bad request": {ContentError, ModelError},
}


def test_recorded_answers_have_their_class(corpora: Path) -> None:
    recorded: dict[str, Any] = json.loads((corpora / "error_answers.json").read_text())
    for case in recorded["answers"] + recorded["documented_shapes"]:
        head = HttpHead(case["status"], tuple(case["headers"].items()))
        error = error_from_answer(head, case["body"].encode(), now=0.0)
        wanted = case["expected_class"].partition(":")[0]
        assert type(error) in CLASSES[wanted], case
        if type(error) is ModelError and wanted == "bad request":
            assert error.code == "model_not_found"
        assert error.retryable is RETRIED[wanted]
        assert error.status == case["status"]
        told = json.loads(case["body"])
        message = (told.get("error") or told).get("message")
        assert " ".join(message.split())[:80] in str(error)
