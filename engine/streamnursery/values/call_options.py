"""Calls of the caller's own: what they say beside their model, and one of many as a value."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypedDict

import attrs

from streamnursery.values.errors import RequestError
from streamnursery.values.policy import Priority, PriorityName


class LeaseOptions(TypedDict, total=False):
    """The keywords of `Engine.lease` and `Engine.run`."""

    priority: Priority | PriorityName
    deadline: float | None
    timeout: float | None
    tenant: str
    input_tokens: int
    output_tokens: int


class Reporting(Protocol):
    """What takes the number of tokens that a call has used."""

    def report(self, *, input_tokens: int = 0, output_tokens: int = 0) -> None: ...


running_call: ContextVar[Reporting | None] = ContextVar("running_call", default=None)
"""Of the task or thread that runs an own call."""


def exception_kinds(name: str, value: object) -> tuple[type[Exception], ...]:
    """A class of exceptions, or a tuple of them.

    Raises:
        RequestError: it is neither.
    """
    kinds = value if isinstance(value, tuple) else (value,)
    if any(not isinstance(kind, type) or not issubclass(kind, Exception) for kind in kinds):
        msg = f"{name} must be a class of exceptions or a tuple of them, not {value!r:.80}"
        raise RequestError(msg)
    return kinds


@attrs.frozen(init=False, eq=False)
class Call:
    """A call of your own among the requests of `settle` and `as_completed`.

    `async_fn(*args)` is called under the limits of `model`, each try with its own lease; in
    `streamnursery.sync` it is a plain function and has its own thread. An exception that is
    one of `retry_on` is tried again as the `retries` of the model say, without a slot meanwhile.
    Any other becomes the outcome's error: itself if it is an `EngineError`, else a
    `CallbackError` caused by it.
    """

    model: str
    async_fn: Callable[..., Any]
    args: tuple[Any, ...]
    priority: Priority | PriorityName
    tenant: str
    input_tokens: int
    """That are expected, for limits per minute and budgets."""
    output_tokens: int
    retry_on: tuple[type[Exception], ...]

    def __init__(
        self,
        model: str,
        async_fn: Callable[..., Any],
        *args: Any,
        priority: Priority | PriorityName = Priority.INTERACTIVE,
        tenant: str = "",
        input_tokens: int = 0,
        output_tokens: int = 0,
        retry_on: type[Exception] | tuple[type[Exception], ...] = (),
    ) -> None:
        kinds = exception_kinds("retry_on", retry_on)
        if not callable(async_fn):
            msg = f"Call needs a model and a function, not {async_fn!r:.80}; call it with its args"
            raise RequestError(msg)
        self.__attrs_init__(
            model, async_fn, args, priority, tenant, input_tokens, output_tokens, kinds
        )

    @property
    def name(self) -> str:
        """Of the function, for messages."""
        return str(getattr(self.async_fn, "__qualname__", type(self.async_fn).__qualname__))

    @staticmethod
    def report(*, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """For the function of a call that runs: the tokens that it has really used. They count for
        the limits, budgets and statistics, and give the outcome its cost. The last report of a try
        counts.

        Raises:
            RequestError: called outside of `run`, `settle` and `as_completed`.
        """
        running = running_call.get()
        if running is None:
            raise RequestError("Call.report() is for functions that the engine calls")
        running.report(input_tokens=input_tokens, output_tokens=output_tokens)
