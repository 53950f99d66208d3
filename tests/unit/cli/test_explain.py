"""What a person is told of an error of the engine."""

import json

import pytest

from streamnursery.cli.explain import explained
from streamnursery.config import config_from_mapping
from streamnursery.values import errors
from streamnursery.values.secret import Secret
from streamnursery.values.settings import EngineConfig

KEY = "sk-0123456789abcdef"


def config_with_key() -> EngineConfig:
    return config_from_mapping({
        "endpoints": {
            "a": {
                "url": "https://a.example/v1",
                "key": Secret(KEY),
                "headers": {"X-Other": Secret("another-secret")},
            }
        }
    })


def test_the_provider_s_own_words_are_shown() -> None:
    body = json.dumps({"error": {"message": "You exceeded\n your quota."}})
    error = errors.QuotaError("no money is left", body=body, request_id="req-1")
    text = str(explained(error))
    assert "the provider says: You exceeded your quota." in text
    assert "request id req-1" in text


@pytest.mark.parametrize(
    "body", ["{", "[1]", '{"error": "plain"}', "<html>Bad gateway</html>", "1"]
)
def test_any_body_is_shown_as_it_is_if_need_be(body: str) -> None:
    text = str(explained(errors.ServerError("it failed", body=body)))
    assert "the provider says: " in text


def test_keys_are_masked_in_what_the_provider_said() -> None:
    config = config_with_key()
    body = f"Incorrect key {KEY} and another-secret"
    text = str(explained(errors.AuthError("refused", body=body), config))
    assert KEY not in text
    assert "another-secret" not in text
    assert "Incorrect key *** and ***" in text


def test_long_words_are_cut() -> None:
    text = str(explained(errors.ServerError("it failed", body="x" * 2000)))
    assert len(text) < 500


def test_why_the_engine_gave_up_is_told() -> None:
    error = errors.ServerError("it failed")
    error.add_note("give up: the deadline has passed")
    assert "give up: the deadline has passed" in str(explained(error))


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (errors.RateLimitedError("x", retry_after=7.2), "wait 7 s"),
        (errors.RateLimitedError("x"), "run it again"),
        (errors.AuthError("x"), "doctor"),
        (errors.ConnectError("x"), "doctor"),
        (errors.TlsError("x"), "doctor"),
        (errors.ConnectionLostError("x"), "run it again"),
        (errors.DeadlineError("x"), "--timeout"),
        (errors.ModelError("x"), "streamnursery doctor"),
        (errors.ConfigError("x"), "config check"),
        (errors.TooLargeError("x"), "doctor"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_error_has_a_next_step(error: errors.EngineError, step: str) -> None:
    assert step in explained(error).next_step


def test_an_argument_of_python_is_named_by_its_flag() -> None:
    error = errors.QueueDeadlineError("too late; allow more time with timeout= or deadline=")
    assert str(explained(error)).startswith("error: too late; allow more time with --timeout")
