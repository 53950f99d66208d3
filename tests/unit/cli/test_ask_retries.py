"""What `ask` tells while it waits."""

import pytest

from streamnursery.cli.ask_screen import tell_retry
from streamnursery.values.lifecycle import Admitted, Retrying


def test_each_retry_is_told_on_stderr_as_it_happens(capsys: pytest.CaptureFixture[str]) -> None:
    tell_retry(Admitted(0.0, 1, "m", 0.0))
    tell_retry(Retrying(1.0, 1, "m", 2.04, "ConnectError", 2, 5))
    told = capsys.readouterr()
    assert told.err == "m: attempt 2 of 5 in 2.0 s: ConnectError\n"
    assert told.out == ""
