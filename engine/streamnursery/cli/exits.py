"""How the command ends: exit codes, and errors as three lines that a person can act on."""

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamnursery.values.errors import EngineError


class Exit(IntEnum):
    """Exit codes; 128 + n for signal n."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    BUDGET = 3
    UNAVAILABLE = 4
    DEADLINE = 5
    FILE = 6
    INTERRUPTED = 130
    READER_GONE = 141
    TERMINATED = 143


EXIT_CODES = """\
exit codes:
  0    ok
  1    finished, but some items failed or a check was not met
  2    the command line or the configuration is wrong
  3    the budget is spent
  4    the provider, the key or the network is not available
  5    the deadline passed
  6    a file of ours cannot be written
  130  Ctrl-C: once ends cleanly, twice at once
  141  the reader of our output went away
  143  SIGTERM
"""


class CliError(Exception):
    """What went wrong, why, and what to type next; each at most a line, `why` may be several."""

    def __init__(
        self, what: str, why: str = "", next_step: str = "", *, code: int = Exit.USAGE
    ) -> None:
        super().__init__(what)
        self.why = why
        self.next_step = next_step
        self.code = code

    def __str__(self) -> str:
        parts = (("error: ", self.args[0]), ("why:   ", self.why), ("next:  ", self.next_step))
        return "\n".join(
            label + text.replace("\n", "\n" + " " * len(label)) for label, text in parts if text
        )


def exit_code(error: "EngineError") -> Exit:
    """The exit code of a command that failed with `error`."""
    from streamnursery.core.recovery.error_table import policy_of

    return Exit(policy_of(error).exit_code)


def joint_code(codes: list[Exit]) -> Exit:
    """One code for several items: theirs if they agree, otherwise "some failed"."""
    return codes[0] if len(set(codes)) == 1 else Exit.SOME_FAILED
