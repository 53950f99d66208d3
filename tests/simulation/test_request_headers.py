"""Headers of one request: validated, sent where they belong, and never a key by accident."""

from collections.abc import Mapping
from typing import Any

import pytest

from streamnursery import RequestError, Secret
from streamnursery.simulator import Plan, Provider, Status
from streamnursery.testing import World
from streamnursery.values.request import ChatRequest, headers_at, make_request

KEY = Secret("sk-endpoint")


def config() -> dict[str, Any]:
    return {
        "endpoints": {
            "main": {"url": "http://sim.test/v1", "key": KEY},
            "backup": {"url": "http://backup.test/v1"},
        },
        "models": {
            "fast": {"routes": [{"endpoint": "main"}, {"endpoint": "backup"}]},
        },
        "defaults": {"retries": {"attempts": 1}},
    }


def ask(headers: dict[str, Any], *, main: Plan | None = None) -> tuple[Provider, Provider]:
    """The two providers after one request."""

    async def run(world: World) -> tuple[Provider, Provider]:
        first = next(iter(world.providers.values()))
        first.plan = main or Plan()
        second = world.add_provider("backup")
        async with world.open_engine(config()) as eng:
            await eng.complete("fast", "Hi", headers=headers)
        return first, second

    return World(1).run(run)


def sent(provider: Provider) -> Mapping[str, str]:
    return provider.log[-1].headers


def test_a_request_sends_headers_of_its_own() -> None:
    first, _ = ask({"X-Request-ID": "abc"})
    assert sent(first)["x-request-id"] == "abc"


def test_they_go_to_the_first_endpoint_of_the_plan_alone() -> None:
    first, second = ask({"x-request-id": "abc"}, main=Plan.always(Status(503)))
    assert sent(first)["x-request-id"] == "abc"
    assert "x-request-id" not in sent(second)


def test_those_under_an_endpoints_name_go_there_and_nowhere_else() -> None:
    headers = {"backup": {"x-request-id": "b"}, "main": {"x-request-id": "a"}}
    first, second = ask(headers, main=Plan.always(Status(503)))
    assert (sent(first)["x-request-id"], sent(second)["x-request-id"]) == ("a", "b")


def test_they_replace_the_endpoints_own() -> None:
    first, _ = ask({"user-agent": "mine", "accept": "text/event-stream;q=1"})
    assert (sent(first)["user-agent"], sent(first)["accept"]) == ("mine", "text/event-stream;q=1")


def test_a_credential_is_replaced_only_by_a_secret() -> None:
    async def main(world: World) -> None:
        provider = next(iter(world.providers.values()))
        provider._key = Secret("other")
        async with world.open_engine(config()) as eng:
            own = {"authorization": Secret("Bearer other")}
            await eng.complete("fast", "Hi", headers=own)
        assert [record.credential for record in provider.log] == ["right"]

    World(1).run(main)


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"authorization": "Bearer x"}, "'authorization' would replace the endpoint's key"),
        ({"main": {"X-Api-Key": "x"}}, "'X-Api-Key' would replace the endpoint's key"),
        ({"x y": "1"}, "header name 'x y' has characters"),
        ({"x": "1\r\ny: 2"}, "has control characters, line breaks or outer spaces"),
        ({"Host": "other"}, "header 'Host' is written by the transport"),
        ({"x": 1}, "headers hold text or Secret by name, not 1"),
        ([("x", "1")], "headers must be a mapping, not list"),
    ],
)
def test_what_is_wrong_with_a_header_is_said(headers: Any, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        make_request("m", "Hi", headers=headers)


def test_neither_headers_nor_their_values_show() -> None:
    request = ChatRequest("m", [], headers={"x-canary": "canary"})
    assert "canary" not in repr(request)
    assert headers_at(request, "main", "main") == (("x-canary", "canary"),)
    assert headers_at(request, "backup", "main") == ()
