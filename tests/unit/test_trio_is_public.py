"""trio's private parts are touched in one file, which says so when one of them is gone."""

import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from streamnursery.testing import World, scheduling

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ALLOWED = "engine/streamnursery/testing/scheduling.py"
NAMES = ("_r", "_ALLOW_DETERMINISTIC_SCHEDULING", "Deadlines")
FORMS = {
    "import": "import trio._core\n",
    "import from": "from trio._core._run import Deadlines\n",
    "attribute": "import trio\n\nprint(trio._core._run._r)\n",
    "another module": "import trio as t\n\nprint(t._util.coroutine_or_error)\n",
}
_PRIVATE = re.compile(r"\btrio\._[a-z]")


async def nothing(world: World) -> None:
    assert world.seed == 1


@pytest.mark.parametrize("missing", [*NAMES, "_run", "_core"])
def test_a_trio_without_a_name_is_told_with_the_versions_that_have_it(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def without(**names: object) -> SimpleNamespace:
        return SimpleNamespace(**{k: v for k, v in names.items() if k != missing})

    run = without(**{name: object() for name in NAMES})
    other = without(__version__="0.99.0", _core=without(_run=run))
    monkeypatch.setattr(scheduling, "trio", other)
    with pytest.raises(RuntimeError) as caught:
        World(1).run(nothing)
    assert "trio 0.99.0" in str(caught.value)
    assert repr(missing) in str(caught.value)
    assert "trio {} to {}".format(*scheduling.WORKS_WITH) in str(caught.value)


def test_the_versions_it_names_are_those_of_pyproject_and_of_the_lock() -> None:
    oldest, newest = scheduling.WORKS_WITH
    assert f"trio>={oldest}" in PYPROJECT["project"]["dependencies"]
    assert f"\ntrio=={newest}." in (ROOT / "requirements" / "dev.lock").read_text()


def test_every_private_module_of_trio_is_banned() -> None:
    private = {
        f"trio.{module.name}"
        for module in pkgutil.iter_modules(trio.__path__)
        if re.match(r"_[^_]", module.name)
    }
    banned = PYPROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert private - banned.keys() == set()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("engine/streamnursery/core/buggify.py", True),
        ("tests/conftest.py", True),
        ("benchmarks/steps.py", True),
        (ALLOWED, False),
    ],
)
def test_the_linter_keeps_it_out_of_every_other_file(form: str, file: str, found: bool) -> None:
    command = (sys.executable, "-m", "ruff", "check", "--select", "TID251", "--no-cache")
    done = subprocess.run(
        [*command, "--output-format", "concise", "--stdin-filename", file, "-"],
        cwd=ROOT,
        input=FORMS[form],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("banned-api" in done.stdout) is found, done.stdout + done.stderr


def test_nor_is_it_named_in_a_string_anywhere_else() -> None:
    """What the linter cannot see, such as `import_module`."""
    folders = ("engine", "tests", "benchmarks", "examples")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    named = {
        str(path.relative_to(ROOT))
        for path in paths
        if "build" not in path.parts and _PRIVATE.search(path.read_text("utf-8"))
    }
    assert named == {ALLOWED, "tests/unit/test_trio_is_public.py"}
