"""A 404 about the path is not a 404 about the model."""

import json

import pytest

from streamnursery.values.errors import EngineError, ModelError, UnexpectedContentError
from streamnursery.values.http import HttpHead
from streamnursery.values.origin import BaseUrl
from streamnursery.wire.error_answers import error_from_answer
from streamnursery.wire.wrong_path import url_advice, wrong_path

OF_THE_PATH = [
    b"404 page not found",
    b"Not Found",
    b"<html><head><title>404 Not Found</title></head><body>nginx</body></html>",
    b'{"detail":"Not Found"}',
    b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}',
    b'{"error":{"code":"404","message":"Resource not found"}}',
    b'{"error":{"message":"Invalid URL (POST /chat/completions)","type":"invalid_request_error"}}',
    b'{"error":{"message":"Unknown request URL: POST /chat/completions. Please check the URL for '
    b'typos","type":"invalid_request_error","code":"unknown_url"}}',
    b'{"message":"no Route matched with those values"}',
    b'{"error":"Unexpected endpoint or method. (POST /v2/x)"}',
    b'{"type":"error","error":{"type":"not_found_error","message":"Not Found"}}',
    b'{"statusCode":404,"message":"Cannot POST /v2/chat/completions"}',
]

OF_THE_MODEL = [
    b'{"error":{"message":"The model `m-1` does not exist","code":"model_not_found"}}',
    b'{"error":{"message":"model \\"m-1\\" not found, try pulling it first"}}',
    b'{"type":"error","error":{"type":"not_found_error","message":"model: m-1"}}',
    b'{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist"}}',
    b'{"error":{"code":404,"message":"models/m-1 is not found for API version v1beta"}}',
    b'{"error":{"message":"No endpoints found for m-1.","code":404}}',
    b'{"object":"error","message":"The model `m-1` does not exist.","code":404}',
]

PLAIN = "https://api.example.com/v1"


def diagnosed(body: bytes, *, status: int = 404, url: str = PLAIN) -> EngineError:
    error = error_from_answer(HttpHead(status, (("x-request-id", "r-1"),)), body, now=0.0)
    return wrong_path(error, body, model="m-1", url=BaseUrl.parse(url), endpoint="main")


@pytest.mark.parametrize("body", OF_THE_PATH)
def test_an_answer_about_the_path_is_not_about_the_model(body: bytes) -> None:
    error = diagnosed(body)
    assert isinstance(error, UnexpectedContentError)
    assert "serves nothing at the path" in str(error)
    assert (error.status, error.request_id, error.retryable) == (404, "r-1", False)
    assert error.body == body.decode()


@pytest.mark.parametrize("body", OF_THE_MODEL)
@pytest.mark.parametrize("url", [PLAIN, "https://api.example.com"])
def test_an_answer_about_the_model_stays_that(body: bytes, url: str) -> None:
    assert isinstance(diagnosed(body, url=url), ModelError)


def test_405_is_always_about_the_path() -> None:
    assert isinstance(diagnosed(b"", status=405), UnexpectedContentError)


def test_an_empty_404_is_about_the_path_only_where_the_url_looks_wrong() -> None:
    assert isinstance(diagnosed(b""), ModelError)
    assert isinstance(diagnosed(b"", url="https://api.example.com"), UnexpectedContentError)


@pytest.mark.parametrize("status", [400, 401, 403, 410, 429, 500])
def test_other_answers_are_left_alone(status: int) -> None:
    body = json.dumps({"error": {"message": "Not Found"}}).encode()
    assert not isinstance(diagnosed(body, status=status), UnexpectedContentError)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        (
            "https://a.example/v1/chat/completions",
            "ends in /chat/completions, which the engine adds itself; write https://a.example/v1",
        ),
        ("https://a.example/v1/responses", "write https://a.example/v1"),
        ("https://a.example", "may lack /v1; try https://a.example/v1"),
        ("https://a.example/gateway", "may lack /v1; try https://a.example/gateway/v1"),
        ("https://a.example/v1", None),
        ("https://a.example/v1beta/openai", None),
        ("https://a.example/api/v3", None),
    ],
)
def test_the_advice_says_how_to_write_the_url(url: str, advice: str | None) -> None:
    found = url_advice(BaseUrl.parse(url))
    assert (found is None) == (advice is None)
    assert (advice or "") in (found or "")
    if advice is not None:
        assert advice in str(diagnosed(b"404 page not found", url=url))
