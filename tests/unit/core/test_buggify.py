"""Every point where the engine may be disturbed has a name and a meaning, and is off."""

import re
from collections import Counter
from pathlib import Path

from streamnursery.core import buggify

ENGINE = Path(buggify.__file__).parents[1]
NAMED = re.compile(r"buggify\.world\.(?:pause|give_way|strikes)\(\s*\"([a-z0-9_.]+)\"")
ASKED = re.compile(r"buggify\.world is not None")


def sources() -> list[str]:
    return [path.read_text() for path in ENGINE.rglob("*.py")]


def test_every_point_is_in_the_code_once() -> None:
    found = Counter(name for text in sources() for name in NAMED.findall(text))
    assert found == dict.fromkeys(buggify.POINTS, 1)


def test_every_point_asks_first_whether_there_is_a_world() -> None:
    for text in sources():
        assert len(NAMED.findall(text)) == len(ASKED.findall(text))


MOST = 8
"""Points in the product: what a seam of the world reaches is disturbed there."""
PATH_OF_A_TOKEN = ("pipeline", "transport", "wire")


def test_points_are_few_and_none_is_on_the_path_of_a_token() -> None:
    assert len(buggify.POINTS) <= MOST
    for room in PATH_OF_A_TOKEN:
        for path in (ENGINE / room).rglob("*.py"):
            assert "buggify" not in path.read_text(), path
    assert "buggify" not in (ENGINE / "supervisor" / "sink.py").read_text()


def test_it_is_off() -> None:
    assert buggify.world is None
