"""What the demo is made of: its plan, its table, its judgement."""

import argparse
import json
from typing import Any

import pytest

from streamnursery.cli.demo_load import Load
from streamnursery.cli.demo_plan import FALLBACK, LIMITS, DemoPlan
from streamnursery.cli.demo_report import figures, summary
from streamnursery.cli.demo_table import FINAL, LIVE, Speeds, columns, limited_by, plain_table, rows
from streamnursery.cli.exits import CliError
from streamnursery.config import config_from_mapping
from streamnursery.simulator import PROFILES, parse_plan
from streamnursery.simulator.profiles import parse_profiles
from streamnursery.values.statistics import (
    ConnectionStatistics,
    EngineStatistics,
    ModelStatistics,
    RouteStatistics,
)


def plan(**given: Any) -> DemoPlan:
    words: dict[str, Any] = {
        "streams": None,
        "max_streams": None,
        "limit": [],
        "speed": None,
        "seed": 0,
    }
    flags = {"big": False, "chaos": False, "config": None}
    return DemoPlan.of(argparse.Namespace(**{**words, **flags, **given}))


def statistics(
    model: ModelStatistics, *, active: int = 0, route: RouteStatistics | None = None
) -> EngineStatistics:
    return EngineStatistics(
        total=ModelStatistics(active=active, max_streams=10),
        models={"gpt-4.1": model},
        routes={"demo/gpt-4.1": route} if route else {},
        connections=ConnectionStatistics(),
        streams=0,
        buffered_bytes=0,
        uptime=0.0,
    )


def test_by_default_it_is_a_hundred_streams_within_the_limits_of_four_models() -> None:
    usual = plan()
    assert (usual.streams, usual.max_streams, usual.limits) == (100, 10, LIMITS)
    assert list(usual.limits.values()) == [5, 3, 8, 10]
    assert set(usual.limits) <= PROFILES.keys()


def test_a_limit_replaces_that_of_its_model() -> None:
    assert plan(limit=[("gpt-4.1", 2)]).limits == {**LIMITS, "gpt-4.1": 2}
    with pytest.raises(CliError, match="no model gpt-41"):
        plan(limit=[("gpt-41", 2)])


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("chaos", [False, True])
def test_its_configuration_is_one_that_a_file_could_hold(big: bool, chaos: bool) -> None:
    asked = plan(big=big, chaos=chaos)
    config = config_from_mapping(asked.config("http://127.0.0.1:9/v1"), environ={})
    assert config.max_streams == asked.max_streams
    assert config.max_queued >= asked.streams
    assert {name: model.max_streams for name, model in config.models.items()} == asked.limits
    fallbacks = {name: model.fallback for name, model in config.models.items()}
    assert fallbacks[FALLBACK] == ()
    assert (fallbacks["gpt-4.1"] == (FALLBACK,)) is chaos


def test_what_goes_wrong_can_be_read_by_the_simulator() -> None:
    assert plan().faults == ""
    assert len(parse_plan(plan(chaos=True).faults).rules) == 6


def test_the_big_demo_answers_slowly_and_briefly() -> None:
    assert plan().profiles == ""
    profiles = parse_profiles(plan(big=True).profiles)
    assert profiles.keys() == LIMITS.keys()
    for model, profile in profiles.items():
        assert profile.ttft_mean == PROFILES[model].ttft_mean


@pytest.mark.parametrize(
    ("asked", "pace"),
    [
        ({}, "simulator at 2x speed"),
        ({"speed": 1}, ""),
        ({"big": True}, "answers of 24 to 40 tokens at 12 tokens/s each"),
    ],
)
def test_a_pace_that_is_not_that_of_the_real_models_is_shown(
    asked: dict[str, Any], pace: str
) -> None:
    assert plan(**asked).pace == pace


@pytest.mark.parametrize("width", [60, 70, 80, 100, 140])
def test_a_terminal_gets_the_columns_it_has_room_for(width: int) -> None:
    live = [column.key for column in columns(LIVE, width)]
    assert live[:2] == ["model", "slots"]
    assert ("limited" in live) is (width >= 80)
    assert ("queue" in live) is (width >= 120)
    assert "ttft" in [column.key for column in columns(FINAL, width)]


OPEN = RouteStatistics(circuit="open", paused_until=None, calls=9, failures=9, slow=0)
PAUSED = RouteStatistics(circuit="closed", paused_until=5.0, calls=9, failures=0, slow=0)


@pytest.mark.parametrize(
    ("model", "active", "route", "limit"),
    [
        (ModelStatistics(active=5, queued=3, max_streams=5), 5, None, "own limit"),
        (ModelStatistics(active=2, queued=3, max_streams=5), 10, None, "all models"),
        (ModelStatistics(active=2, queued=3, max_streams=5), 9, None, "its turn"),
        (ModelStatistics(active=5, queued=0, max_streams=5), 10, None, ""),
        (ModelStatistics(active=0, queued=3, max_streams=5), 1, OPEN, "breaker"),
        (ModelStatistics(active=0, queued=3, max_streams=5), 1, PAUSED, "its 429"),
    ],
)
def test_what_holds_a_model_back_is_named(
    model: ModelStatistics, active: int, route: RouteStatistics | None, limit: str
) -> None:
    assert limited_by("gpt-4.1", model, statistics(model, active=active, route=route)) == limit


def test_speed_is_that_of_the_last_second() -> None:
    speeds = Speeds()
    assert speeds.now("a", 0.0, 0) == 0.0
    assert speeds.now("a", 0.5, 50) == pytest.approx(100)
    assert speeds.now("a", 1.5, 50) == pytest.approx(0)
    assert speeds.now("a", 2.5, 100) == pytest.approx(50)
    assert speeds.now("b", 2.0, 100) == pytest.approx(50)


def test_a_run_that_was_stopped_before_it_began_has_figures_too() -> None:
    load = Load(plan(), "http://127.0.0.1:9/v1")
    assert rows(load) == []
    assert plain_table(load, 100).startswith("model")
    told = summary(load, interrupted=True)
    assert "0 of 100 answers complete in 0.0 s" in told[1]
    assert "100 were not finished" in told[1]
    assert json.loads(json.dumps(figures(load)))["unfinished"] == 100


def test_requests_go_round_the_models_and_differ() -> None:
    requests = list(Load(plan(streams=9), "http://127.0.0.1:9/v1").requests())
    assert [request.model for request in requests[:5]] == [*LIMITS, next(iter(LIMITS))]
    assert len({str(request.messages) for request in requests}) == 9
