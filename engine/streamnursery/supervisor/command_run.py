"""Runs a command that prints a token: no shell, no input, bounded in time and in what it prints."""

import os
import signal
import subprocess
import threading

from streamnursery.supervisor.token_command import TokenCommandError

SECONDS = 10.0
MAX_PRINTED = 16 * 1024
"""Bytes."""


def run_command(command: tuple[str, ...], *, seconds: float = SECONDS) -> str:
    """What `command` prints. It blocks: call it in a thread.

    Raises:
        TokenCommandError: it cannot be started, fails, or passes a bound.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        msg = f"it cannot be started: {error.strerror}"
        raise TokenCommandError(msg) from None
    late = threading.Event()

    def give_up() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        assert process.stdout is not None
        with process.stdout as printed:
            data = printed.read(MAX_PRINTED + 1)
        if len(data) > MAX_PRINTED:
            _kill(process)
        status = process.wait()
    finally:
        timer.cancel()
        _kill(process)
    return _checked(data, status, late=late.is_set(), seconds=seconds)


def _checked(data: bytes, status: int, *, late: bool, seconds: float) -> str:
    if late:
        msg = f"it did not end within {seconds:g} s"
    elif len(data) > MAX_PRINTED:
        msg = f"it printed more than {MAX_PRINTED:,} bytes"
    elif status != 0:
        msg = f"it ended with status {status}; run it by hand to see why"
    else:
        return data.decode("ascii", "replace")
    raise TokenCommandError(msg)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """With all that it has started and that is still in its session."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except OSError:
        pass  # it has ended
