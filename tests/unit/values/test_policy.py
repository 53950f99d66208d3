"""Policies and settings refuse what would make no sense later."""

from collections.abc import Callable

import pytest

from streamnursery.values.origin import BaseUrl
from streamnursery.values.policy import Patience, Priority, Retries
from streamnursery.values.settings import Endpoint, EngineConfig, ModelSettings, Route

Maker = Callable[..., object]
NO_SECONDS = [0, -1, -0.5, float("nan"), True, "5"]
CLOCKS = ["connect", "first_byte", "first_token", "idle", "total"]
NO_COUNT = [-1, 1.0, True, "1", None, float("nan")]


def make(kind: Maker, **fields: object) -> object:
    """Call `kind` with fields of any type."""
    return kind(**fields)


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("value", NO_SECONDS)
def test_a_clock_takes_seconds_above_zero(clock: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"patience\.{clock} must be seconds > 0, or None"):
        make(Patience, **{clock: value})


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("value", [None, 0.001, 5, float("inf")])
def test_a_clock_may_be_off(clock: str, value: float | None) -> None:
    assert getattr(make(Patience, **{clock: value}), clock) == value


def test_only_the_clock_of_the_whole_attempt_goes_by_itself() -> None:
    assert Patience(total="auto").total == "auto"
    with pytest.raises(ValueError, match=r"patience\.idle"):
        make(Patience, idle="auto")


@pytest.mark.parametrize("field", ["base", "cap"])
@pytest.mark.parametrize("value", [*NO_SECONDS, float("inf"), None])
def test_a_wait_is_finite_and_above_zero(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"retries\.{field} must be seconds > 0"):
        make(Retries, **{field: value})


@pytest.mark.parametrize("value", [-1, float("nan"), True, False, "5", None])
def test_the_cap_of_a_providers_wait_is_seconds(value: object) -> None:
    with pytest.raises(ValueError, match=r"retries\.retry_after_cap must be seconds >= 0"):
        make(Retries, retry_after_cap=value)


def test_a_providers_wait_may_be_refused_or_followed_whatever_it_is() -> None:
    assert Retries(retry_after_cap=0).retry_after_cap == 0
    assert Retries(retry_after_cap=float("inf")).retry_after_cap == float("inf")


@pytest.mark.parametrize("value", [0, *NO_COUNT])
def test_there_is_at_least_one_attempt(value: object) -> None:
    with pytest.raises(ValueError, match=r"retries\.attempts must be a whole number >= 1"):
        make(Retries, attempts=value)


def test_interactive_goes_before_batch() -> None:
    assert sorted([Priority.BATCH, Priority.INTERACTIVE])[0] is Priority.INTERACTIVE


@pytest.mark.parametrize(
    "field", ["max_streams", "max_queued", "default_max_streams", "max_idle_connections"]
)
@pytest.mark.parametrize("value", NO_COUNT)
def test_a_limit_is_a_whole_number(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be a whole number >= 0"):
        make(EngineConfig, **{field: value})


@pytest.mark.parametrize("field", ["buffer_events", "buffer_bytes", "max_buffered_bytes"])
@pytest.mark.parametrize("value", [0, *NO_COUNT])
def test_a_buffer_holds_at_least_one(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be a whole number >= 1"):
        make(EngineConfig, **{field: value})


@pytest.mark.parametrize("value", [-1, 2.0, True])
def test_a_models_own_limit_is_checked_likewise(value: object) -> None:
    with pytest.raises(ValueError, match="max_streams must be a whole number >= 0"):
        make(ModelSettings, name="m", max_streams=value)


@pytest.mark.parametrize("field", ["patience", "retries"])
def test_the_defaults_are_policies(field: str) -> None:
    with pytest.raises(TypeError, match=field):
        make(EngineConfig, **{field: None})


@pytest.mark.parametrize("name", ["", "a b", "a/b"])
def test_an_endpoints_name_can_stand_before_a_slash(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Endpoint(name, BaseUrl.parse("https://a.example"))


def test_a_route_is_written_with_its_endpoint_first() -> None:
    assert str(Route("main", "org/model")) == "main/org/model"


def test_an_endpoint_tells_the_transport_where_and_how() -> None:
    endpoint = Endpoint(
        "main",
        BaseUrl.parse("https://a.example:8443/v1"),
        ca_file="/ca.pem",
        proxy="http://p:1",
        http="1.1",
        insecure=True,
        deny_private=True,
    )
    peer = endpoint.peer
    assert str(peer.origin) == "https://a.example:8443"
    assert (peer.ca_file, peer.proxy, peer.http) == ("/ca.pem", "http://p:1", "1.1")
    assert (peer.insecure, peer.deny_private) == (True, True)
