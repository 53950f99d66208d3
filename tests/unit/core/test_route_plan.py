import pytest

from streamnursery.core.routing.route_plan import Role, RoutePlan, plan
from streamnursery.values.errors import ConfigError
from streamnursery.values.origin import BaseUrl
from streamnursery.values.policy import Patience, Retries
from streamnursery.values.request import ChatRequest
from streamnursery.values.secret import Secret
from streamnursery.values.settings import Endpoint, EngineConfig, ModelSettings, Route

MESSAGES = [{"role": "user", "content": "hello"}]


def endpoint(name: str, key: str | None = None, **headers: str | Secret) -> Endpoint:
    url = BaseUrl.parse(f"https://{name}.example/v1")
    return Endpoint(name, url, key=Secret(key) if key else None, headers=headers)


def model(name: str, *routes: str, fallback: tuple[str, ...] = ()) -> ModelSettings:
    """Routes are written `endpoint` or `endpoint/model`."""
    places = [route.partition("/") for route in routes]
    return ModelSettings(
        name, tuple(Route(place[0], place[2] or name) for place in places), fallback=fallback
    )


def config(*models: ModelSettings, endpoints: tuple[Endpoint, ...] = ()) -> EngineConfig:
    return EngineConfig(
        endpoints={e.name: e for e in endpoints}, models={m.name: m for m in models}
    )


def planned(settings: EngineConfig, name: str, request: ChatRequest | None = None) -> RoutePlan:
    def routes(wanted: str) -> tuple[Route, ...]:
        known = settings.models.get(wanted)
        if known is not None:
            return known.routes
        if wanted.startswith("sim/"):
            return (Route("sim", wanted.removeprefix("sim/")),)
        raise ConfigError(f"nobody serves {wanted}")

    return plan(
        request or ChatRequest(name, MESSAGES),
        settings,
        routes=routes,
        name=lambda it: it.partition("?")[0],
    )


def walk(it: RoutePlan) -> list[str]:
    return [str(stop.route) for stop in it.stops]


def test_the_models_routes_come_in_their_order_then_its_fallback_models() -> None:
    settings = config(model("m", "a", "b", fallback=("n",)), model("n", "c", "a"))
    it = planned(settings, "m")
    assert walk(it) == ["a/m", "b/m", "c/n", "a/n"]
    assert [stop.role for stop in it.stops] == [
        Role.PRIMARY,
        Role.BACKUP,
        Role.FALLBACK,
        Role.BACKUP,
    ]
    assert [stop.model for stop in it.stops] == ["m", "m", "n", "n"]


def test_o4_models_that_fall_back_on_each_other_stand_there_once() -> None:
    settings = config(model("m", "a", fallback=("n",)), model("n", "b", fallback=("m",)))
    it = planned(settings, "m")
    assert walk(it) == ["a/m", "b/n"]
    assert it.left_out == ("fallback n -> m: already on the plan",)


def test_a_model_that_falls_back_on_itself_stands_there_once() -> None:
    assert walk(planned(config(model("m", "a", fallback=("m", "m"))), "m")) == ["a/m"]


def test_the_requests_own_fallbacks_come_before_those_of_its_fallbacks() -> None:
    settings = config(
        model("m", "a", fallback=("n", "o")),
        model("n", "a", fallback=("p",)),
        model("o", "a"),
        model("p", "a"),
    )
    assert walk(planned(settings, "m")) == ["a/m", "a/n", "a/o", "a/p"]


def test_two_names_of_one_route_are_one_route() -> None:
    settings = config(model("fast", "a/m", fallback=("m",)), model("m", "a", "b"))
    it = planned(settings, "fast")
    assert walk(it) == ["a/m", "b/m"]
    assert it.stops[1].role is Role.FALLBACK
    assert it.left_out == ("a/m for m: already on the plan",)


def test_two_deployments_at_one_endpoint_are_two_routes() -> None:
    assert walk(planned(config(model("m", "a/east", "a/west")), "m")) == ["a/east", "a/west"]


def test_a_fallback_that_nobody_serves_is_an_error_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError, match="nobody serves x"):
        planned(config(model("m", "a", fallback=("x",))), "m")


def test_endpoints_that_share_a_key_are_one_account() -> None:
    settings = config(
        model("m", "a", "b", "c", "d", fallback=("n",)),
        model("n", "b"),
        endpoints=(
            endpoint("a", "one"),
            endpoint("b", "two"),
            endpoint("c", "one"),
            endpoint("d", x_key=Secret("two"), x_team="one"),
        ),
    )
    accounts = [stop.account for stop in planned(settings, "m").stops]
    assert accounts == ["a", "b", "a", "b", "b"]


def test_endpoints_without_a_key_are_accounts_of_their_own() -> None:
    settings = config(model("m", "a", "b"), endpoints=(endpoint("a"), endpoint("b")))
    assert [stop.account for stop in planned(settings, "m").stops] == ["a", "b"]


def test_a_simulated_model_goes_by_its_name_without_its_script() -> None:
    stop = planned(config(), "sim/fast?ttft=1").stops[0]
    assert (str(stop.route), stop.model, stop.endpoint) == ("sim/fast?ttft=1", "sim/fast", "sim")


def test_the_nearest_policy_counts() -> None:
    ours, theirs = Retries(attempts=2), Retries(attempts=3)
    named = ModelSettings("m", (Route("a", "m"),), retries=ours, patience=Patience(idle=1))
    it = planned(config(named), "m")
    assert (it.stops[0].retries, it.stops[0].patience.idle) == (ours, 1)
    request = ChatRequest("m", MESSAGES, retries=theirs, patience=Patience(idle=2))
    it = planned(config(named), "m", request)
    assert (it.stops[0].retries, it.stops[0].patience.idle) == (theirs, 2)
    it = planned(config(model("m", "a")), "m")
    assert (it.stops[0].retries, it.stops[0].patience) == (Retries(), Patience())


def test_a_plan_prints() -> None:
    settings = EngineConfig(
        models={
            "m": model("m", "a", "b", fallback=("n",)),
            "n": ModelSettings(
                "n", (Route("c", "n"),), retries=Retries(attempts=1), fallback=("m",)
            ),
        }
    )
    assert str(planned(settings, "m")).splitlines() == [
        "m: at most 11 exchanges",
        "  1. a/m (primary, 5 attempts)",
        "  2. b/m (backup of m, 5 attempts)",
        "  3. c/n (fallback model n, 1 attempt)",
        "  left out: fallback n -> m: already on the plan",
    ]


def test_a_plan_shows_no_key() -> None:
    settings = config(model("m", "a"), endpoints=(endpoint("a", "canary"),))
    it = planned(settings, "m")
    assert "canary" not in repr(it) + str(it)
