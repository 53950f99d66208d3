"""The tree of errors: what each is called, what it carries, that it travels."""

import copy
import pickle
from collections.abc import Iterator

import pytest

from streamnursery.values import errors
from streamnursery.values.errors import (
    AttemptRecord,
    AttemptState,
    ConfigError,
    EngineError,
    ServerError,
)
from streamnursery.values.partial import Choice, Partial, ToolCall
from streamnursery.values.usage import Usage

CATEGORIES = {
    "AdmissionError": "admission_error",
    "TooManyTokensError": "admission_error",
    "AuthError": "authentication_error",
    "CallbackError": "callback_error",
    "ConfigError": "request_error",
    "ContentError": "content_error",
    "EngineError": "engine_error",
    "ModelError": "model_error",
    "NetworkError": "network_error",
    "PatienceError": "timeout_error",
    "ProtocolError": "parse_error",
    "ProviderError": "server_error",
    "QuotaError": "quota_error",
    "RateLimitedError": "rate_limit_error",
    "RequestError": "request_error",
    "StorageError": "storage_error",
    "StreamCancelledError": "cancelled",
    "TruncatedStreamError": "truncated_error",
}
RETRYABLE = {
    "NetworkError",
    "ConnectError",
    "ConnectionLostError",
    "DescriptorsExhaustedError",
    "PatienceError",
    "ConnectTimeoutError",
    "FirstByteTimeoutError",
    "FirstTokenTimeoutError",
    "IdleTimeoutError",
    "ProtocolError",
    "MalformedChunkError",
    "UnexpectedContentError",
    "RateLimitedError",
    "ServerError",
    "TruncatedStreamError",
}


def tree(base: type[EngineError] = EngineError) -> Iterator[type[EngineError]]:
    yield base
    for below in base.__subclasses__():
        yield from tree(below)


ALL = [kind for kind in tree() if kind.__module__ == errors.__name__]
each = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


def filled(kind: type[EngineError]) -> EngineError:
    error = kind("what happened")
    error.status, error.request_id, error.code = 503, "req-1", "overloaded"
    error.retry_after, error.body = 2.5, "busy"
    error.endpoint, error.model, error.committed = "main", "gpt-4.1", True
    call = ToolCall(0, "call-1", "f", "{")
    error.partial = Partial((Choice(0, "half", tool_calls=(call,)),), Usage(input_tokens=3))
    attempt = AttemptRecord(
        number=1,
        route="main/gpt-4.1",
        state=AttemptState.MAYBE_SENT,
        started_at=1.0,
        ended_at=2.0,
        error=ServerError("first try", status=500),
    )
    error.attempts = (attempt,)
    return error


@each
def test_every_name_ends_in_error_and_says_what_it_is(kind: type[EngineError]) -> None:
    assert kind.__name__.endswith("Error")
    assert kind.__doc__


@each
def test_a_category_is_that_of_the_nearest_named_class(kind: type[EngineError]) -> None:
    named = next(base.__name__ for base in kind.__mro__ if base.__name__ in CATEGORIES)
    assert kind.category == CATEGORIES[named]


@each
def test_waiting_or_asking_again_helps_where_the_table_says_so(kind: type[EngineError]) -> None:
    assert kind("x").retryable is (kind.__name__ in RETRYABLE)


@each
@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_an_error_travels_whole(kind: type[EngineError], copied: object) -> None:
    error = filled(kind)
    assert callable(copied)
    twin = copied(error)
    assert type(twin) is kind
    assert twin is not error
    assert (str(twin), repr(twin)) == (str(error), repr(error))
    ours, theirs = dict(vars(error)), dict(vars(twin))
    if copied is not copy.copy:
        (first,), (second,) = ours.pop("attempts"), theirs.pop("attempts")
        assert (first.route, first.state, str(first.error)) == (
            second.route,
            second.state,
            str(second.error),
        )
    assert ours == theirs


@each
def test_a_deep_copy_is_an_error_of_its_own(kind: type[EngineError]) -> None:
    error = filled(kind)
    twin = copy.deepcopy(error)
    assert twin.partial == error.partial
    assert twin.attempts[0].error is not error.attempts[0].error


@each
def test_t2_a_providers_text_stands_on_the_body_alone(kind: type[EngineError]) -> None:
    error = filled(kind)
    error.body = "sk-canary you sent"
    assert "canary" not in str(error)
    assert "canary" not in repr(error)


def test_the_particulars_are_given_by_name() -> None:
    error = ServerError(
        "busy", retryable=False, retry_after=3.0, status=503, request_id="r", body="b", code="c"
    )
    assert (error.retryable, error.retry_after, error.status) == (False, 3.0, 503)
    assert (error.request_id, error.body, error.code) == ("r", "b", "c")


def test_a_fresh_error_knows_of_no_delivery_and_no_attempts() -> None:
    error = EngineError("x")
    assert (error.partial, error.committed, error.attempts) == (None, False, ())
    assert (error.endpoint, error.model, error.status) == (None, None, None)


def test_the_body_is_cut_to_its_bound() -> None:
    assert ServerError("x", body="y" * 10_000).body == "y" * errors.MAX_BODY


def test_one_problem_is_the_message() -> None:
    error = ConfigError("the only one")
    assert (str(error), error.problems) == ("the only one", ("the only one",))


def test_several_problems_are_counted_and_listed() -> None:
    error = ConfigError(["first", "second"])
    assert error.problems == ("first", "second")
    assert str(error) == "2 configuration errors:\n  first\n  second"


def test_notes_travel_too() -> None:
    error = EngineError("x")
    error.add_note("seen at noon")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["seen at noon"]
