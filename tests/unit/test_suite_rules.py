"""Rules of this suite, held over the syntax trees of its files: nothing in it measures the machine
that it runs on, and every code in the name of a test can be looked up."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

CLOCKS = frozenset({
    *("sleep", "time", "monotonic", "perf_counter", "process_time", "thread_time"),
    *("time_ns", "monotonic_ns", "perf_counter_ns", "process_time_ns", "thread_time_ns"),
})
MODULES = frozenset({"time", "asyncio"})
READS_A_CLOCK = {
    "mutants/__main__.py": "says how long each defect took; asserts nothing about it",
    "contract/test_sim_command_clients.py": "a floor: a client of others waits no less than asked",
    "soak/test_host_blocked.py": "blocks the host for real; in soak alone",
    "trio_versions.py": "says how long the tests took with each trio; asserts nothing about it",
}
"""Files that may, and why."""

WAITS = frozenset({
    *("sleep", "sleep_until", "move_on_after", "move_on_at", "fail_after", "fail_at"),
    *("wait_all_tasks_blocked", "Timer", "wait"),
})
BOUNDS = frozenset({"timeout", "within", "grace"})
REAL_TIME = (
    *sorted(path for path in TESTS.glob("integration/*.py")),
    *(TESTS / "support" / name for name in ("cli.py", "guard.py", "servers.py", "interrupted.py")),
    *sorted(path for path in TESTS.glob("support/*_child.py")),
)
"""Where sockets and processes are real, and time with them."""
VIRTUAL_TIME = ("autojump_clock", "mock_clock", "world")
"""Arguments of tests that have a clock of their own."""


def clock_reads(tree: ast.AST) -> Iterator[str]:
    """Where a clock of the machine is read or slept by."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {name.asname or name.name for name in node.names if name.name in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield from (f"{node.module}.{name.name}" for name in node.names if name.name in CLOCKS)
    names = {f"{module}.{clock}" for module in modules for clock in CLOCKS}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in names:
            yield f"line {node.lineno}: {ast.unparse(node)}"


def real_waits(tree: ast.AST) -> Iterator[str]:
    """Waits for an amount of time other than the guard."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            amounts = node.args[:1] if name in WAITS else []
            amounts += [word.value for word in node.keywords if word.arg in BOUNDS]
            if any(ast.unparse(amount) != "GUARD" for amount in amounts):
                yield f"line {node.lineno}: {ast.unparse(node)}"


def on_real_time(tree: ast.Module) -> Iterator[str]:
    """Async tests that go by trio's clock and have none of their own."""
    for test in tree.body:
        if not isinstance(test, ast.AsyncFunctionDef) or not test.name.startswith("test_"):
            continue
        arguments = {argument.arg for argument in test.args.args}
        # `virtual`, and `in_world(...)` of the tests of batches: a world's clock is virtual.
        decorators = {ast.unparse(decorator).partition("(")[0] for decorator in test.decorator_list}
        if arguments & set(VIRTUAL_TIME) or decorators & {"virtual", "in_world"}:
            continue
        for node in ast.walk(test):
            text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if text.startswith("trio.") and text[5:] in {*WAITS, "current_time"}:
                yield f"{test.name}: {text}"


def codes(tree: ast.AST) -> Iterator[str]:
    """Of situations, in the names of tests: `test_c5_t7_...` has two."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            prefix = re.match(r"test_((?:[a-z]\d+_)+)", node.name)
            yield from prefix[1].upper().split("_")[:-1] if prefix else ()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in TESTS.glob(f"{folder}/**/*.py"))


def test_no_test_reads_a_clock_of_the_machine() -> None:
    found = {
        path.relative_to(TESTS).as_posix(): reads
        for path in files(".")
        if (reads := list(clock_reads(parsed(path))))
    }
    assert set(found) == set(READS_A_CLOCK), found


def test_where_time_is_real_tests_wait_for_events_and_never_for_a_time() -> None:
    assert {path.name: w for path in REAL_TIME if (w := list(real_waits(parsed(path))))} == {}


def test_where_nothing_is_real_time_is_virtual() -> None:
    found = {
        path.name: waits
        for path in files("unit", "property", "simulation")
        if (waits := list(on_real_time(parsed(path))))
    }
    assert found == {}


def test_the_readme_says_what_each_code_in_a_name_means() -> None:
    legend = re.findall(r"^\| ([A-Z]\d+) \| \S", (TESTS / "README.md").read_text(), re.MULTILINE)
    used = {code for path in files(".") for code in codes(parsed(path))}
    assert len(legend) == len(set(legend))
    assert set(legend) == used


@pytest.mark.parametrize(
    "text",
    [
        "import time\nassert time.monotonic() - began < 2.0",
        "import time as t\nt.sleep(0.1)",
        "from time import perf_counter as now",
        "import asyncio\nasync def f(): await asyncio.sleep(1)",
    ],
)
def test_a_clock_is_found_under_any_name(text: str) -> None:
    assert list(clock_reads(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "trio.sleep(0.05)",
        "with trio.move_on_after(0.01): pass",
        "with trio.fail_after(seconds): pass",
        "process.communicate(timeout=30)",
        "process.wait(0.05)",
        "wait_all_tasks_blocked(0.05)",
    ],
)
def test_a_wait_for_a_time_is_found(text: str) -> None:
    assert list(real_waits(ast.parse(text)))
    assert not list(real_waits(ast.parse("with trio.fail_after(GUARD): await event.wait()")))


def test_a_test_without_a_clock_of_its_own_is_found() -> None:
    text = "async def test_it({}) -> None:\n    assert trio.current_time() == 0"
    assert list(on_real_time(ast.parse(text.format(""))))
    assert not list(on_real_time(ast.parse(text.format("autojump_clock"))))


def test_codes_are_found_in_nested_tests_and_nowhere_else() -> None:
    text = "class A:\n async def test_b3_x2_it(): ...\ndef test_p95(): ...\ndef c1_it(): ..."
    assert list(codes(ast.parse(text))) == ["B3", "X2"]
