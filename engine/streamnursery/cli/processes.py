"""The simulated provider in its own process, for load that must not share our cores' time
with it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from streamnursery.cli.exits import CliError, Exit

_COMMAND = (sys.executable, "-m", "streamnursery", "sim", "--port", "0", "--json", "--until-eof")


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
            why = f"its process ended with {code}"
            step = "python -m streamnursery sim shows why"
            raise CliError("the simulator did not start", why, step, code=Exit.UNAVAILABLE)
        url: str = json.loads(line)["url"]
        return url


@contextmanager
def sim_process(*flags: str, **files: str) -> Iterator[SimProcess]:
    """A simulator on a free port, with `--NAME FILE` for each of `files`, whose texts are given.

    It ends with the block, and with this process however that ends: it waits for the end of its
    stdin. It sits in its own session, so that Ctrl-C is ours alone.
    """
    words = [*_COMMAND, *flags]
    with contextlib.ExitStack() as opened:
        descriptors = []
        for name, text in files.items():
            if text:
                descriptors.append(opened.enter_context(_readable(text)))
                words += [f"--{name}", f"/dev/fd/{descriptors[-1]}"]
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=descriptors,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield SimProcess(process)
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def _readable(text: str) -> Iterator[int]:
    """A descriptor that a child can read `text` from, without a file. It must fit into a pipe."""
    reader, writer = os.pipe()
    try:
        with open(writer, "wb") as pipe:
            pipe.write(text.encode())
        yield reader
    finally:
        os.close(reader)
