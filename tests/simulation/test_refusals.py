"""What a refusal tells, and where a prompt that is too long may go."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
import trio

from streamnursery import ContextTooLongError, EngineError, RateLimitedError, open_engine
from streamnursery.errors import AuthError
from streamnursery.records import AttemptStarted
from streamnursery.simulator import InStreamError, Plan, Provider, SimNetwork, Status
from streamnursery.simulator.fault import Fault
from streamnursery.values.secret import Secret
from tests.support.scene import AT_ONCE, always, virtual

KEY = "tok-canary-0123456789"  # like no provider's key: it is known from the endpoint alone
TOO_LONG = {"message": "prompt is too long: 300000 tokens > 200000 maximum", "type": "x"}
NO_NUMBERS = {"message": "too long", "code": "context_length_exceeded"}


async def answered(
    plan: Plan, models: Mapping[str, Mapping[str, Any]], attempts: int = 3
) -> tuple[list[str], EngineError | None]:
    """The models that were asked, and the error; `plan` holds where m is served."""
    providers = {
        "main": Provider(dice=random.Random(1), models={"m": AT_ONCE}, plan=plan),
        "spare": Provider(dice=random.Random(1), models=dict.fromkeys("mxyz", AT_ONCE)),
    }
    settings = {
        "defaults": {"retries": {"attempts": attempts}},
        "endpoints": {
            name: {"url": f"http://{name}.example.com/v1", "key": Secret(KEY)} for name in providers
        },
        "models": models,
    }
    begun: list[str] = []
    async with trio.open_nursery() as nursery:
        hosts = {f"{name}.example.com": provider for name, provider in providers.items()}
        network = SimNetwork(nursery, hosts)

        def look(record: object) -> None:
            if isinstance(record, AttemptStarted):
                begun.append(record.route)

        error = None
        async with open_engine(settings, network=network, observers=[look]) as eng:
            try:
                await eng.complete("m", "a prompt that is too long")
            except EngineError as caught:
                error = caught
        nursery.cancel_scope.cancel()
    return begun, error


def served(context: int | None, endpoint: str = "spare", **more: object) -> dict[str, Any]:
    known = {} if context is None else {"context": context}
    return {"routes": [{"endpoint": endpoint}], **known, **more}


@virtual
async def test_a_prompt_that_is_too_long_is_not_asked_again_on_its_route() -> None:
    begun, error = await answered(
        always(Status(400, body={"error": TOO_LONG})), {"m": served(None, "main")}
    )
    assert begun == ["main/m"]
    assert isinstance(error, ContextTooLongError)
    assert (error.tokens, error.window, error.endpoint) == (300_000, 200_000, "main")
    assert error.attempts[0].error is error


@pytest.mark.parametrize(
    "fault", [Status(400, body={"error": TOO_LONG}), Status(400, error="context_length_exceeded")]
)
@pytest.mark.parametrize(
    ("x", "y", "asked"),
    [
        (200_000, 400_000, "spare/y"),  # the first fallback is no larger
        (None, 400_000, "spare/x"),  # a window that is not known may be
        (400_000, None, "spare/x"),
        (1_000, 2_000, None),
    ],
)
def test_it_goes_to_a_model_whose_window_is_larger_or_not_known(
    fault: Fault, x: int | None, y: int | None, asked: str | None
) -> None:
    @virtual
    async def check() -> None:
        models = {
            "m": served(200_000, "main", fallback=["x", "y"]),
            "x": served(x),
            "y": served(y),
        }
        begun, error = await answered(always(fault), models)
        assert begun == ["main/m", *([asked] if asked else [])]
        assert isinstance(error, ContextTooLongError) is (asked is None)

    check()


def test_the_providers_numbers_count_before_ours() -> None:
    @virtual
    async def check() -> None:
        # It takes 300,000: 250,000 would not do, though it is larger than this window.
        models = {"m": served(200_000, "main", fallback=["x"]), "x": served(250_000)}
        begun, _ = await answered(always(Status(400, body={"error": TOO_LONG})), models)
        assert begun == ["main/m"]
        begun, _ = await answered(always(Status(400, body={"error": NO_NUMBERS})), models)
        assert begun == ["main/m", "spare/x"]

    check()


@pytest.mark.parametrize(
    "fault",
    [
        Status(401, body={"error": {"message": f"no such key: {KEY}", "code": KEY}},
               headers=(("x-request-id", f"id-{KEY}"),)),
        Status(401, body={"error": {"message": "word " * 55 + KEY, "code": "a" * 50 + KEY}}),
        Status(401, body={"error": {"message": "a" * 2030 + KEY}}),
        InStreamError(0, code="invalid_api_key", message=f"no such key: {KEY}"),
        InStreamError(1, code="invalid_api_key", message=f"no such key: {KEY}"),
    ],
    ids=["everywhere", "where it is cut", "at the body's end", "first", "after a token"],
)  # fmt: skip
def test_a_key_that_a_provider_repeats_is_in_nothing_that_is_told(fault: Fault) -> None:
    @virtual
    async def check() -> None:
        _, error = await answered(always(fault), {"m": served(None, "main")})
        assert isinstance(error, AuthError)
        (attempt,) = error.attempts
        told = (str(error), error.args, error.body, error.code, error.request_id, attempt)
        assert "tok-canary" not in repr(told)
        assert "tok-canary" not in repr(error.attempts)
        if error.request_id is not None and "id-" in error.request_id:
            assert error.request_id == attempt.request_id == "id-***"

    check()


@virtual
async def test_the_whole_prompt_is_not_quoted() -> None:
    said = {"message": "cannot say 'a prompt that is too long' twice"}
    _, error = await answered(
        always(Status(400, body={"error": said})), {"m": served(None, "main")}
    )
    assert str(error).endswith("it says: \"cannot say '[prompt]' twice\"")


@virtual
async def test_an_error_with_status_200_is_told_with_what_its_head_says() -> None:
    """A gateway answers 200 and JSON where a stream was asked for."""
    body = {"error": {"message": "slow down", "type": "rate_limit_exceeded"}}
    headers = (("retry-after", "7"), ("x-should-retry", "false"))
    plan = always(Status(200, body=body, headers=headers))
    begun, error = await answered(plan, {"m": served(None, "main")})
    assert len(begun) == 1
    assert isinstance(error, RateLimitedError)
    assert (error.retry_after, error.retryable) == (7.0, False)
