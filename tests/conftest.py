"""Tiers, profiles, corpora. STREAMNURSERY_TIER is test, proof or soak; sizes follow from it."""

import importlib.util
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Only a top-level conftest may load a plugin with options of its own. Where the testing room was
# taken away (tests/integration/test_core_alone.py) the core's own tests must run without it.
_PLUGIN = "streamnursery.testing.pytest_plugin"
pytest_plugins = [_PLUGIN] if importlib.util.find_spec("streamnursery.testing") else []

TIER = os.environ.get("STREAMNURSERY_TIER", "test")
EXAMPLES = {"test": 20, "proof": 400, "soak": 2000}

for _tier, _examples in EXAMPLES.items():
    settings.register_profile(
        _tier,
        max_examples=_examples,
        deadline=None,
        derandomize=_tier != "soak",
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(TIER)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the first tier a test marked `every(n)` runs with each n-th of its cases."""
    if TIER != "test":
        return
    seen: Counter[str] = Counter()
    left_out = []
    for item in items:
        mark = item.get_closest_marker("every")
        if mark is None:
            continue
        name = item.nodeid.partition("[")[0]
        if seen[name] % mark.args[0]:
            left_out.append(item)
        seen[name] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        dropped = set(left_out)
        items[:] = [item for item in items if item not in dropped]


@pytest.fixture(scope="session")
def tier() -> str:
    return TIER


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Streams and cases recorded elsewhere; they are not part of the repository."""
    folder = Path(os.environ.get("STREAMNURSERY_CORPORA", ""))
    if not folder.is_absolute() or not folder.is_dir():
        pytest.skip("STREAMNURSERY_CORPORA names no folder of recorded streams")
    return folder
