"""The simulated provider in a process of its own, for load that must not share our cores' time
with it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engine.cli.exits import CliError, Exit


class SimProcess:
    """Made by `sim_process`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def url(self) -> str:
        """Its base URL, as soon as it listens.

        Raises:
            CliError: it did not start.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise CliError(
                "the simulator did not start", f"its process ended with {code}",
                f"{os.path.basename(sys.executable)} -m engine sim", code=Exit.UNAVAILABLE,
            )
        url: str = json.loads(line)["url"]
        return url


@contextmanager
def sim_process(*flags: str, plan: str = "") -> Iterator[SimProcess]:
    """A simulator on a free port; `plan` is the JSON of what goes wrong.

    It ends with the block, and with this process however that ends: it waits for the end of its
    stdin. It sits in a session of its own, so that Ctrl-C is ours alone.
    """
    with _readable(plan) as path:
        script = ("--script", path) if path else ()
        words = ("sim", "--port", "0", "--json", "--until-eof", *flags, *script)
        process = _start(words, (int(path.rpartition("/")[2]),) if path else ())
    try:
        yield SimProcess(process)
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def _start(words: Sequence[str], descriptors: tuple[int, ...]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "engine", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        pass_fds=descriptors,
    )


@contextmanager
def _readable(text: str) -> Iterator[str]:
    """A path under which a child can read `text`, without a file; empty for no text."""
    if not text:
        yield ""
        return
    reader, writer = os.pipe()
    try:
        # Fits into a pipe: a plan of the demo is a few hundred bytes.
        os.write(writer, text.encode())
        os.close(writer)
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)


__all__ = ["SimProcess", "sim_process"]
