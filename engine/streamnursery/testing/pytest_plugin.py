"""For pytest: the fixtures `world` and `live_provider`, `--world-seed`, and the points that sweeps
have tried.

Say so in a conftest.py: `pytest_plugins = ["streamnursery.testing.pytest_plugin"]`. The
fixture needs pytest-trio; without it, call `World(seed).run(main)` in a test of your own.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from zlib import crc32

import pytest
import trio
from trio.testing import MockClock

from streamnursery.testing import live, sweeps
from streamnursery.testing.world import World, simulated_world

_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--world-seed",
        type=int,
        default=None,
        help="seed of every simulated world that is a fixture (default: one for each test)",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # pytest-trio takes a clock from the test's own arguments, or a runner from its marker.
    for item in items:
        if "world" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.trio(run=_run_on_virtual_time), append=False)


def _run_on_virtual_time(
    async_fn: Callable[[], Awaitable[object]],
    clock: trio.abc.Clock | None,
    instruments: Sequence[trio.abc.Instrument],
) -> object:
    clock = clock or MockClock(autojump_threshold=0)
    return trio.run(async_fn, clock=clock, instruments=instruments)


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A simulated world around the test, seeded by the test's name or by `--world-seed`."""
    given = request.config.getoption("--world-seed")
    seed = crc32(request.node.nodeid.encode()) if given is None else int(given)
    request.node.stash[_SEED] = seed
    async with simulated_world(seed) as opened:
        opened.replay_line = _replay_line(request.node, seed)
        yield opened


@pytest.fixture
def live_provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[live.LiveProvider]:
    """A simulated provider on the loopback, for programs that cannot run in a world. An engine
    that is opened in the test with the usual configuration finds it by the environment."""
    with live.live_provider() as provider:
        for name, value in provider.environment.items():
            monkeypatch.setenv(name, value)
        yield provider


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    while sweeps.reports:
        item.user_properties.append(("sweep", str(sweeps.reports.popleft())))
    report = yield
    if report.failed and _SEED in item.stash:
        line = f"replay: {_replay_line(item, item.stash[_SEED])}"
        report.sections.append(("simulated world", line))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many points the sweeps have tried."""
    told = {
        f"{report.nodeid}: {value}"
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "sweep"
    }
    if told:
        terminalreporter.section("sweeps")
        for line in sorted(told):
            terminalreporter.line(line)


def _replay_line(item: pytest.Item, seed: int) -> str:
    return f"pytest '{item.nodeid}' --world-seed={seed}"
