"""SIGHUP: a running command goes by its changed configuration."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import run, start
from tests.support.guard import GUARD

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    assert process.stderr is not None
    read = ""
    while text not in read:
        line = process.stderr.readline()
        assert line, f"it ended after {read!r}"
        read += line
    return read


def test_the_demo_goes_by_its_changed_file_and_survives_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "over.toml"
    file.write_text("[engine]\nmax_streams = 2\n")
    with start(tmp_path, "demo", "--streams", "2000", "--config", str(file)) as process:
        try:
            read_until(process, " 2 in flight")
            file.write_text("[engine]\nmax_streams = -1\n")
            process.send_signal(signal.SIGHUP)
            assert "engine.max_streams: must be" in read_until(process, "must be")
            file.write_text('[engine]\nmax_streams = 30\n[models."gpt-4.1"]\nrpm = 600\n')
            process.send_signal(signal.SIGHUP)
            assert "reloaded: max_streams, models.gpt-4.1" in read_until(process, "reloaded")
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=GUARD)
    assert process.returncode == 128 + signal.SIGINT


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--config", str(tmp_path / "none.toml"))
    assert done.code == 2
    assert "none.toml cannot be read" in done.err
    (tmp_path / "bad.toml").write_text("[engine]\nmax_streams = -1\n")
    done = run(tmp_path, "demo", "--config", str(tmp_path / "bad.toml"))
    assert done.code == 2
    assert "engine.max_streams" in done.err
