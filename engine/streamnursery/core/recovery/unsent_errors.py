"""What follows from errors of requests that never left: the first rows of `error_table`."""

from collections.abc import Mapping

from streamnursery.core.recovery.error_policy import CallOutcome, ErrorPolicy, RetryScope
from streamnursery.values.errors import (
    AdmissionError,
    BudgetExceededError,
    ConfigError,
    EngineClosedError,
    EngineError,
    NestedLeaseError,
    OverloadedError,
    QueueDeadlineError,
    RequestError,
    TooManyTokensError,
)

CALLER_ERRORS: Mapping[type[EngineError], ErrorPolicy] = {
    EngineError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        4,
        "The base class of all others.",
        "Catch it last.",
    ),
    ConfigError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        2,
        "The configuration cannot be used, or no endpoint serves the model. `problems` "
        "has every mistake.",
        "Mend them all; `streamnursery config check`.",
        command="streamnursery config check",
    ),
    RequestError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        2,
        "The request would fail anywhere: empty messages, a number out of range, a call "
        "outside `trio.run`.",
        "The message names the field.",
        command="streamnursery ask --help",
    ),
}

NOT_SENT: Mapping[type[EngineError], ErrorPolicy] = {
    AdmissionError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        4,
        "Base of these: the engine did not send the request.",
        "Safe to ask again later.",
    ),
    NestedLeaseError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        4,
        "It is inside of a block that holds what it waits for.",
        "Leave the outer block first, or raise the limit.",
    ),
    OverloadedError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        4,
        "`max_queued` requests wait already.",
        "Send fewer at once, or raise it.",
    ),
    QueueDeadlineError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        5,
        "The deadline passed in the queue. The message names the limit that was waited for.",
        "Allow more time or raise that limit.",
        command="give it more time with --timeout",
    ),
    TooManyTokensError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        4,
        "The request alone needs more tokens than a limit per minute allows.",
        "Ask for fewer `max_tokens`, shorten the prompt, or raise `tpm`.",
    ),
    BudgetExceededError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        3,
        "A budget has no room for the worst case of the attempt, or its model has no "
        "price. Also in the middle of a stream that outgrew what was reserved for it; "
        "then with the partial. `standing` has the window, its limit, what is spent, "
        "reserved and held, and its reset.",
        "Raise the budget, wait for its reset, or ask for fewer `max_tokens`.",
    ),
    EngineClosedError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        4,
        "The engine is closed or draining. A bug that closed it is the `__cause__`.",
        "Stay inside the block of `open_engine`.",
    ),
}
