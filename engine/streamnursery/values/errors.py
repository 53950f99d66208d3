"""Everything a caller can catch.

EngineError(category, retryable, retry_after, endpoint, model, request_id, status, partial,
            committed, attempts)
├── ConfigError, RequestError                (request_error: the caller's fault)
├── AdmissionError       admission_error     OverloadedError, NestedLeaseError,
│                                            QueueDeadlineError, TooManyTokensError,
│                                            BudgetExceededError, EngineClosedError
├── NetworkError         network_error       ConnectError (DescriptorsExhaustedError),
│                                            TlsError, ConnectionLostError
├── PatienceError        timeout_error       ConnectTimeoutError, FirstByteTimeoutError,
│                                            FirstTokenTimeoutError, IdleTimeoutError,
│                                            TotalTimeoutError, DeadlineError
├── ProtocolError        parse_error         MalformedChunkError, UnexpectedContentError,
│                                            StructuredOutputError, TooLargeError,
│                                            RedirectRefusedError
├── ProviderError                            RateLimitedError rate_limit_error,
│                                            QuotaError quota_error,
│                                            AuthError authentication_error,
│                                            ModelError model_error,
│                                            ContentError (ContextTooLongError) content_error,
│                                            ServerError server_error
├── TruncatedStreamError truncated_error
├── StorageError         storage_error
├── CallbackError        callback_error
└── StreamCancelledError cancelled

Whether text was delivered is not a class but `error.committed` and `error.partial`.
No message holds a key. That of a `ProviderError` quotes at most 300 characters of the provider's
own words (ADR 0024), which may quote the prompt; `.body` has more of them.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from streamnursery.values.cost import BY_HAND, Cost, CostSource
from streamnursery.values.one_line import error_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamnursery.values.partial import Partial
    from streamnursery.values.spending import BudgetStanding
    from streamnursery.values.usage import Usage

MAX_BODY = 2048
"""Bytes of a provider's error text that are kept."""


class EngineError(Exception):
    """Base class of every error the engine raises."""

    category: ClassVar[str] = "engine_error"
    retryable_by_default: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        retryable: bool | None = None,
        retry_after: float | None = None,
        status: int | None = None,
        request_id: str | None = None,
        body: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = self.retryable_by_default if retryable is None else retryable
        """Whether another attempt may succeed; text already delivered forbids it all the same."""
        self.retry_after = retry_after
        """Seconds the provider asks us to wait, uncapped."""
        self.status = status
        """HTTP status; 200 for an error inside a stream."""
        self.request_id = request_id
        self.body = body[:MAX_BODY] if body is not None else None
        """The provider's own text, at most 2,048 characters. It may quote the prompt."""
        self.code = code
        """The provider's own error code or type, as text."""
        self.endpoint: str | None = None
        self.model: str | None = None
        self.partial: Partial | None = None
        """What was delivered before the failure."""
        self.committed = False
        """True once content was put into the stream's channel."""
        self.attempts: Sequence[AttemptRecord] = ()

    def __repr__(self) -> str:
        return error_line(type(self).__name__, self.status, self.endpoint, str(self))

    def __reduce__(self) -> tuple[Any, ...]:
        # The state comes apart from the arguments: an error stands in its own attempts.
        return (_rebuild, (type(self), self.args), self.__dict__.copy())


def _rebuild(cls: type[EngineError], args: tuple[Any, ...]) -> EngineError:
    error = cls.__new__(cls)
    error.args = args
    return error


class AttemptState(Enum):
    """How far an attempt got; it decides what may be retried and what is billed."""

    NOT_SENT = "not_sent"
    """No byte of the request left us."""
    MAYBE_SENT = "maybe_sent"
    """The provider may have seen the request; nothing was delivered."""
    COMMITTED = "committed"
    """Content was put into the stream's channel."""
    DONE = "done"
    """The answer is complete."""


@attrs.frozen
class AttemptRecord:
    """One HTTP exchange made for a request. It stands beside `EngineError` because each holds the
    other. Times are on trio's clock, in seconds."""

    number: int
    route: str
    state: AttemptState
    started_at: float
    ended_at: float
    error: EngineError | None = None
    status: int | None = None
    request_id: str | None = None
    usage: Usage | None = None
    """As reported; of an attempt that broke without a report, what it delivered, as an estimate."""
    hedge: bool = False
    """Made beside another attempt that was slow to answer."""
    requests: int = 0
    """HTTP requests that left for it: more than one where the first ones were not looked at."""
    connections: int = 0
    """Connections that were begun for it."""
    bill: CostSource | None = attrs.field(default=None, eq=False, repr=False)
    """What `cost` is worked out from."""

    @property
    def cost(self) -> Cost:
        """What it cost, as `usage_report()` has it; worked out when it is read."""
        return BY_HAND if self.bill is None else self.bill.cost(self)


class ConfigError(EngineError):
    """The configuration cannot be used; `problems` lists every mistake at once."""

    category = "request_error"

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems: tuple[str, ...] = (
            (problems,) if isinstance(problems, str) else tuple(problems)
        )
        head = f"{len(self.problems)} configuration errors:" if len(self.problems) > 1 else ""
        super().__init__("\n  ".join([head, *self.problems] if head else self.problems))


class RequestError(EngineError):
    """The request itself is at fault: it would fail anywhere."""

    category = "request_error"


class AdmissionError(EngineError):
    """The engine never sent the request."""

    category = "admission_error"


class OverloadedError(AdmissionError):
    """The queue is full."""


class NestedLeaseError(AdmissionError):
    """A lease, or a stream, inside of a block that holds what it needs: it would wait for ever."""


class QueueDeadlineError(AdmissionError):
    """The deadline passed, or must pass, while the request waits for a slot."""


class TooManyTokensError(AdmissionError):
    """The request alone needs more tokens than a limit per minute allows."""


class BudgetExceededError(AdmissionError):
    """The request may cost more than the budget has left."""

    standing: BudgetStanding | None = None
    """The window without room: its limit, spent, reserved, held, reset. None where the model has
    no price."""


class EngineClosedError(AdmissionError):
    """The engine is closed or draining; `__cause__` is the bug that closed it, if one did."""


class NetworkError(EngineError):
    """The network failed."""

    category = "network_error"
    retryable_by_default = True


class ConnectError(NetworkError):
    """No connection: name not resolved, refused, unreachable. Nothing was sent."""

    refused = False
    """Whether every address refused: the machine is there, and no server listens at the port."""
    unresolved = False
    """Whether the host name has no address."""


class DescriptorsExhaustedError(ConnectError):
    """This process or machine has no file descriptor left for a connection. It says nothing of
    the provider, and no other route would help."""


class TlsError(NetworkError):
    """No trusted TLS connection. Nothing was sent."""

    retryable_by_default = False


class ConnectionLostError(NetworkError):
    """The connection broke after the request had begun."""


class PatienceError(EngineError):
    """A clock ran out."""

    category = "timeout_error"
    retryable_by_default = True


class ConnectTimeoutError(PatienceError):
    """No connection within `patience.connect`."""


class FirstByteTimeoutError(PatienceError):
    """No response head within `patience.first_byte`."""


class FirstTokenTimeoutError(PatienceError):
    """No content within `patience.first_token`, though the line may be alive."""


class IdleTimeoutError(PatienceError):
    """No further content within `patience.idle`; comments and pings do not count. Or content that
    falls below `patience.min_tokens_per_second`."""


class TotalTimeoutError(PatienceError):
    """The attempt took longer than `patience.total`."""

    retryable_by_default = False


class DeadlineError(PatienceError):
    """The request's own deadline passed."""

    retryable_by_default = False


class ProtocolError(EngineError):
    """The provider sent something that is not its protocol."""

    category = "parse_error"
    retryable_by_default = True


class MalformedChunkError(ProtocolError):
    """A server-sent event could not be decoded."""


class UnexpectedContentError(ProtocolError):
    """A success answer that is not an event stream: HTML, JSON, encoded or empty."""


class StructuredOutputError(ProtocolError):
    """A whole answer that is not a value of the `response_format` that was asked for. Raised by
    `completion.parsed`; the message quotes at most 80 characters of the text."""

    retryable_by_default = False
    text: str = ""
    """The answer's text, all of it."""
    where: str = ""
    """`$.people[0].age`, or `byte 17` of what is not JSON; empty where the model refused."""


class TooLargeError(ProtocolError):
    """A line, event, header block or body passed its bound."""

    retryable_by_default = False


class RedirectRefusedError(ProtocolError):
    """The provider redirected; keys and prompts do not follow."""

    retryable_by_default = False


class ProviderError(EngineError):
    """The provider answered with an error."""

    category = "server_error"


class RateLimitedError(ProviderError):
    """Too many requests or tokens; waiting cures it."""

    category = "rate_limit_error"
    retryable_by_default = True


class QuotaError(ProviderError):
    """The account has no money or quota left; waiting does not cure it."""

    category = "quota_error"


class AuthError(ProviderError):
    """The key is missing, wrong or not allowed."""

    category = "authentication_error"


class ModelError(ProviderError):
    """The model does not exist here, is gone, or is not open to this key."""

    category = "model_error"


class ContentError(ProviderError):
    """The provider refuses the content or the parameters of the request."""

    category = "content_error"


class ContextTooLongError(ContentError):
    """The prompt, with the tokens asked for, is longer than the model's window. The same route is
    never asked again; another one is, unless its window is known to be too small as well."""

    tokens: int | None = None
    """What the request takes, where the provider says so."""
    window: int | None = None
    """What the model takes, where the provider says so."""


class ServerError(ProviderError):
    """The provider failed or is overloaded."""

    category = "server_error"
    retryable_by_default = True


class TruncatedStreamError(EngineError):
    """The stream ended without the evidence of completion its dialect asks for."""

    category = "truncated_error"
    retryable_by_default = True


class StorageError(EngineError):
    """The ledger or journal could not be written; nothing more is admitted."""

    category = "storage_error"


class BatchInputError(RequestError):
    """The input of a batch has mistakes; nothing was sent. The message has the first of them."""

    problems: tuple[str, ...] = ()
    """The first mistakes, each with its place."""
    count: int = 0
    """Of all mistakes."""


class BatchFileError(StorageError):
    """A file of a batch cannot be read or written. What was counted as done is safe."""


class CallbackError(EngineError):
    """The caller's own code failed inside the engine; see `__cause__`."""

    category = "callback_error"


class StreamCancelledError(EngineError):
    """The stream was cancelled by `cancel()`, `cancel_all()` or a drain."""

    category = "cancelled"
