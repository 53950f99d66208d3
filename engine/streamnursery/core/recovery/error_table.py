"""What follows from each class of error: one row, which everything else reads.

Read by: `next_step` (where a failed request may go), `breaker` (what a call says about its route),
the command (exit code, what to type next) and docs/errors.md, which is made from it.
"""

from collections.abc import Mapping

from streamnursery.core.recovery.error_policy import CallOutcome, ErrorPolicy, RetryScope
from streamnursery.core.recovery.unsent_errors import CALLER_ERRORS, NOT_SENT
from streamnursery.values.errors import (
    AuthError,
    BatchFileError,
    BatchInputError,
    CallbackError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    ContentError,
    ContextTooLongError,
    DeadlineError,
    DescriptorsExhaustedError,
    EngineError,
    FirstByteTimeoutError,
    FirstTokenTimeoutError,
    IdleTimeoutError,
    MalformedChunkError,
    ModelError,
    NetworkError,
    PatienceError,
    ProtocolError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RedirectRefusedError,
    ServerError,
    StorageError,
    StreamCancelledError,
    StructuredOutputError,
    TlsError,
    TooLargeError,
    TotalTimeoutError,
    TruncatedStreamError,
    UnexpectedContentError,
)

_THE_NETWORK: Mapping[type[EngineError], ErrorPolicy] = {
    NetworkError: ErrorPolicy(
        RetryScope.BACKUP_FIRST, CallOutcome.FAILURE, 4, "Base of these.", "`streamnursery doctor`."
    ),
    ConnectError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "No connection: the name does not resolve, refused, unreachable, a proxy that refuses.",
        "Check the endpoint's `url` and `proxy`.",
        command="streamnursery doctor looks at names, proxies and certificates",
    ),
    DescriptorsExhaustedError: ErrorPolicy(
        RetryScope.HERE_FIRST,
        CallOutcome.IGNORED,
        4,
        "No file descriptor is left on this side. A `ConnectError` that no breaker counts.",
        "Raise `ulimit -n`, or lower `max_streams`.",
        command="raise the limit of open files: ulimit -n 65536",
    ),
    TlsError: ErrorPolicy(
        RetryScope.OTHER_KEY,
        CallOutcome.FAILURE,
        4,
        "No trusted TLS connection. The key was not sent.",
        "Check the name and the clock, or set `ca_file`.",
        command="streamnursery doctor looks at names, proxies and certificates",
    ),
    ConnectionLostError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "The connection broke after the request had begun.",
        "Ask again if `committed` is false.",
    ),
}

_TIME: Mapping[type[EngineError], ErrorPolicy] = {
    PatienceError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "Base of these.",
        "The message names the clock.",
    ),
    ConnectTimeoutError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "No connection within `patience.connect`.",
        "Check the network, or allow more.",
    ),
    FirstByteTimeoutError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "No head of an answer within `patience.first_byte`.",
        "As above; a long prompt takes longer.",
    ),
    FirstTokenTimeoutError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "No content within `patience.first_token`.",
        "Mark a model that thinks first with `reasoning = true`, or allow more.",
    ),
    IdleTimeoutError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "No further content within `patience.idle`; pings do not count. Or fewer tokens than "
        "`patience.min_tokens_per_second`.",
        "Use the partial, or ask again.",
        retried="by `on_interrupt`: text was delivered",
    ),
    TotalTimeoutError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        4,
        "The attempt took longer than `patience.total`.",
        "Ask for fewer tokens, or allow more.",
    ),
    DeadlineError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        5,
        "The request's own `deadline` or `timeout` passed.",
        "Allow more time, or accept the partial.",
        command="give it more time with --timeout",
    ),
}

_NOT_THE_PROVIDER_S_PROTOCOL: Mapping[type[EngineError], ErrorPolicy] = {
    ProtocolError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "Base of these.",
        "Check that the endpoint is OpenAI-compatible.",
    ),
    MalformedChunkError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "An event of the stream could not be read.",
        "Ask again; report it to the provider.",
    ),
    UnexpectedContentError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "A success that is no event stream: a web page, JSON, nothing, an encoded body; or a 404 "
        "or 405 about the path.",
        "Usually a wrong `url` or a proxy.",
        retried="HTML and text: elsewhere, here",
        command="streamnursery config show --origin shows the url in use",
    ),
    StructuredOutputError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        4,
        "The whole answer is no value of its `response_format`; from `completion.parsed` alone. "
        "`text` has it, `where` says at which place.",
        "Ask again, with the error in the prompt; raise `max_tokens` if it was cut short.",
    ),
    TooLargeError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "A line, event, header block or body passed its bound.",
        "A broken or hostile server.",
    ),
    RedirectRefusedError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "The provider redirects; keys and prompts do not follow.",
        "Set `url` to the place in the message.",
    ),
    TruncatedStreamError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "The answer ended without the evidence that it is whole.",
        "The partial has what came.",
    ),
}

_THE_PROVIDER_SAYS_NO: Mapping[type[EngineError], ErrorPolicy] = {
    ProviderError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.FAILURE,
        4,
        "Base of these: an error answer, or an error inside the stream (status 200).",
        "See `code` and `body`.",
    ),
    RateLimitedError: ErrorPolicy(
        RetryScope.HERE_FIRST,
        CallOutcome.IGNORED,
        4,
        "Too many requests or tokens. The route is left alone for `retry_after`, by everybody.",
        "Lower the model's `max_streams`.",
    ),
    QuotaError: ErrorPolicy(
        RetryScope.OTHER_KEY,
        CallOutcome.SUCCESS,
        4,
        "No money or quota is left; waiting does not help.",
        "Top up, or use another key.",
        command="top up the account, or use another key",
    ),
    AuthError: ErrorPolicy(
        RetryScope.OTHER_KEY,
        CallOutcome.SUCCESS,
        4,
        "The key is missing, wrong or not allowed.",
        "`streamnursery doctor` shows where it comes from.",
        command="streamnursery doctor shows which key is used and what it may do",
    ),
    ModelError: ErrorPolicy(
        RetryScope.HERE_FIRST,
        CallOutcome.SUCCESS,
        4,
        "The model does not exist there, or not for this key.",
        "Check its name; `streamnursery models`.",
        command="streamnursery doctor lists what each endpoint serves",
    ),
    ContentError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.SUCCESS,
        4,
        "The content or a parameter is refused.",
        "The message says which.",
        command="change what it objects to and run it again",
    ),
    ContextTooLongError: ErrorPolicy(
        RetryScope.LARGER_WINDOW,
        CallOutcome.SUCCESS,
        4,
        "The prompt, with the tokens asked for, is longer than the model's window. `tokens` and "
        "`window` have the provider's numbers. A `ContentError`.",
        "Shorten it, or name a fallback with a larger window (`models.NAME.context`).",
        command="shorten the prompt, or ask a model with a larger window",
    ),
    ServerError: ErrorPolicy(
        RetryScope.BACKUP_FIRST,
        CallOutcome.FAILURE,
        4,
        "The provider failed or is overloaded, or its route has been failing and is left alone.",
        "Give the model a second route or a fallback.",
    ),
}

_THE_REST: Mapping[type[EngineError], ErrorPolicy] = {
    StorageError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        4,
        "The ledger or journal could not be written; nothing more is admitted.",
        "Free the disk, and open a new engine.",
    ),
    BatchInputError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        2,
        "The input of a batch has mistakes; nothing was sent.",
        "Mend the lines that are named.",
    ),
    BatchFileError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        6,
        "A file of a batch cannot be read or written; what was counted as done is safe.",
        "Free the disk or name another output; the same command goes on.",
    ),
    CallbackError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        4,
        "Your own code inside the engine failed; it is the `__cause__`.",
        "Mend it.",
    ),
    StreamCancelledError: ErrorPolicy(
        RetryScope.NOWHERE,
        CallOutcome.IGNORED,
        4,
        "`stream.cancel()`, `cancel_all()` or a drain ended the stream.",
        "Nothing: you asked for it.",
    ),
}

SECTIONS: tuple[tuple[str, Mapping[type[EngineError], ErrorPolicy]], ...] = (
    ("Caller errors", CALLER_ERRORS),
    ("Not sent", NOT_SENT),
    ("The network", _THE_NETWORK),
    ("Time", _TIME),
    ("Not the provider's protocol", _NOT_THE_PROVIDER_S_PROTOCOL),
    ("The provider says no", _THE_PROVIDER_SAYS_NO),
    ("The rest", _THE_REST),
)
"""The rows as docs/errors.md groups them."""

POLICIES: Mapping[type[EngineError], ErrorPolicy] = {
    kind: policy for _, rows in SECTIONS for kind, policy in rows.items()
}


def policy_of(error: EngineError) -> ErrorPolicy:
    """The row of the nearest class in the error's ancestry."""
    return next(POLICIES[kind] for kind in type(error).__mro__ if kind in POLICIES)
