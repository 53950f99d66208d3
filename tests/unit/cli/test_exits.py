"""Exit codes and the form of an error."""

import pytest

from streamnursery.cli.exits import CliError, Exit, exit_code, joint_code
from streamnursery.values import errors


def every(kind: type[errors.EngineError]) -> list[type[errors.EngineError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in every(below))]


EXPECTED = {
    errors.ConfigError: Exit.USAGE,
    errors.RequestError: Exit.USAGE,
    errors.BatchInputError: Exit.USAGE,
    errors.BatchFileError: Exit.FILE,
    errors.BudgetExceededError: Exit.BUDGET,
    errors.DeadlineError: Exit.DEADLINE,
    errors.QueueDeadlineError: Exit.DEADLINE,
}


@pytest.mark.parametrize("kind", every(errors.EngineError), ids=lambda kind: kind.__name__)
def test_every_error_has_its_exit_code(kind: type[errors.EngineError]) -> None:
    assert exit_code(kind("it failed")) is EXPECTED.get(kind, Exit.UNAVAILABLE)


def test_equal_codes_stay_and_different_ones_mean_that_some_failed() -> None:
    assert joint_code([Exit.OK, Exit.OK]) is Exit.OK
    assert joint_code([Exit.DEADLINE, Exit.DEADLINE]) is Exit.DEADLINE
    assert joint_code([Exit.OK, Exit.DEADLINE]) is Exit.SOME_FAILED
    assert joint_code([Exit.USAGE, Exit.DEADLINE]) is Exit.SOME_FAILED


def test_an_error_says_what_and_why_and_what_next() -> None:
    error = CliError("it broke", "it was old\nand thin", "buy another")
    assert str(error).splitlines() == [
        "error: it broke",
        "why:   it was old",
        "       and thin",
        "next:  buy another",
    ]


def test_what_is_not_known_is_left_out() -> None:
    assert str(CliError("it broke")) == "error: it broke"
