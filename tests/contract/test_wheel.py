"""The wheel, installed into an empty environment and used from an empty folder."""

import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import ROOT, empty_world

pytestmark = pytest.mark.contract
BUILD = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
TESTS = ("tests/unit/core", "tests/unit/simulator", "tests/simulation/test_world.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    ran = subprocess.run(
        [sys.executable, *BUILD, "--wheel-dir", folder, ROOT], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    (found,) = folder.glob("streamnursery-*-py3-none-any.whl")
    return found


class Installed:
    """An environment with the wheel in it, and an empty folder to be in."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder / "empty"
        self.folder.mkdir()
        self._bin = folder / "venv" / "bin"
        venv.create(folder / "venv", with_pip=True)
        self._environ = empty_world(self.folder)
        del self._environ["PYTHONPATH"]
        what = f"{wheel}[cli,test]"
        ran = subprocess.run(
            [self._bin / "python", "-m", "pip", "install", "--quiet", what],
            capture_output=True,
            text=True,
        )
        if ran.returncode:
            pytest.skip(f"the dependencies cannot be installed: {ran.stderr[-300:]}")

    def __call__(self, program: str, *words: str) -> str:
        """Run it; what it says."""
        ran = subprocess.run(
            [self._bin / program, *words],
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("installed")
    yield Installed(folder, wheel)
    shutil.rmtree(folder)


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    assert {
        "streamnursery/__init__.py",
        "streamnursery/py.typed",
        "streamnursery/__main__.py",
    } <= names
    sources = [
        *(ROOT / "engine/streamnursery").rglob("*.py"),
        *(ROOT / "engine/streamnursery").rglob("*.?js"),
        *(ROOT / "engine/streamnursery/config").glob("price_list.[jL]*"),
    ]
    ours = {str(path.relative_to(ROOT / "engine")) for path in sources}
    assert {name for name in names if not name.split("/")[0].endswith(".dist-info")} == {
        *ours,
        "streamnursery/py.typed",
    }
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_command_works_from_an_empty_folder(there: Installed) -> None:
    assert there("streamnursery", "--version").startswith("streamnursery ")
    assert there("python", "-m", "streamnursery", "--version").startswith("streamnursery ")
    assert there("streamnursery", "ask", "Hi", "-m", "sim/fast", "--max-tokens", "3").strip()
    assert "20 of 20 answers complete" in there(
        "streamnursery", "demo", "--streams", "20", "--speed", "20"
    )
    assert there("streamnursery", "doctor").count("ok ") > 3


def test_the_tests_pass_from_another_folder(there: Installed) -> None:
    shutil.copytree(ROOT / "tests", there.folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", there.folder)
    told = there("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS)
    assert " passed" in told
    where = there("python", "-c", "import streamnursery as sn; print(sn.__file__)")
    assert "site-packages" in where
