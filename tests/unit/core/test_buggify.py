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


def test_it_is_off() -> None:
    assert buggify.world is None
