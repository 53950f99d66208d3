"""Speaks a dialect that is not built in: an exception out of it fails its stream alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_args

from streamnursery.values.errors import CallbackError, EngineError
from streamnursery.values.events import StreamEvent
from streamnursery.wire.dialect import Envelope, ResumableDialect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import UnionType

    from streamnursery.values.events import Failed
    from streamnursery.values.http import Header, HttpHead
    from streamnursery.values.policy import AssistantPrefix
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Auth, Endpoint
    from streamnursery.wire.dialect import (
        Cursor,
        Dialect,
        DialogueDecoder,
        EndpointOption,
        Resumption,
        SessionDialect,
        StreamDecoder,
    )

P = ParamSpec("P")
T = TypeVar("T")

_EVENTS = frozenset(get_args(StreamEvent))


class GuardedDialect:
    """A `Dialect` around one that is not built in. It is resumable where the inner one is."""

    def __new__(cls, inner: Dialect, source: str) -> GuardedDialect:
        del source
        resumable = isinstance(inner, ResumableDialect)
        return super().__new__(GuardedResumable if resumable else GuardedDialect)

    def __init__(self, inner: Dialect, source: str) -> None:
        self._inner = inner
        self._who = f"the dialect {inner.name!r} ({source})"

    @property
    def api(self) -> int:
        return self._inner.api

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def auth(self) -> Auth:
        return self._inner.auth

    @property
    def options(self) -> tuple[EndpointOption, ...]:
        return self._inner.options

    @property
    def session(self) -> SessionDialect | None:
        inner = self._inner.session
        return None if inner is None else GuardedSession(inner, self._who)

    def path(self, request: ChatRequest, model: str, /) -> str:
        return self._call(str, self._inner.path, request, model)

    def headers(self, endpoint: Endpoint, /) -> tuple[Header, ...]:
        return self._call(tuple, self._inner.headers, endpoint)

    def encode(self, request: ChatRequest, endpoint: Endpoint, model: str) -> bytes:
        return self._call(bytes, self._inner.encode, request, endpoint, model)

    def check_head(self, head: HttpHead) -> bool:
        return self._call(bool, self._inner.check_head, head)

    def decoder(self, request: ChatRequest, /) -> StreamDecoder:
        return GuardedDecoder(self._call(object, self._inner.decoder, request), self._who)

    def continued(self, request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:
        return self._call(type(request), self._inner.continued, request, how, text)

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        return self._call(EngineError, self._inner.error_from_answer, head, body, now=now)

    def _call(self, expected: type, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return _guard(self._who, expected, call, *args, **kwargs)


class GuardedResumable(GuardedDialect):
    """Its decoders have cursors."""

    def resume(
        self, request: ChatRequest, endpoint: Endpoint, model: str, cursor: Cursor
    ) -> Resumption:
        inner = self._inner
        assert isinstance(inner, ResumableDialect)
        return self._call(object, inner.resume, request, endpoint, model, cursor)

    def resumed(self, request: ChatRequest, broken: StreamDecoder) -> StreamDecoder:
        inner = self._inner
        assert isinstance(inner, ResumableDialect)
        assert isinstance(broken, GuardedDecoder)
        found = self._call(object, inner.resumed, request, broken.inner)
        return GuardedDecoder(found, self._who)


class GuardedDecoder:
    """A `StreamDecoder` that never raises, and gives stream events alone."""

    def __init__(self, inner: StreamDecoder, who: str) -> None:
        self.inner = inner
        self.done = False
        self.trailing = False
        self.failure: EngineError | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.cursor: Cursor | None = None
        self.buffered = 0
        self._who = who

    def feed(self, data: bytes) -> list[StreamEvent]:
        return self._take(self.inner.feed, data)

    def end(self, *, delimited: bool = True) -> list[StreamEvent]:
        return self._take(self.inner.end, delimited=delimited)

    def _take(
        self, call: Callable[P, list[StreamEvent]], *args: P.args, **kwargs: P.kwargs
    ) -> list[StreamEvent]:
        if self.done or self.failure is not None:
            return []
        try:
            events = list(call(*args, **kwargs))
            inner = self.inner
            self.done, self.trailing, self.failure = inner.done, inner.trailing, inner.failure
            self.response_id, self.response_model = inner.response_id, inner.response_model
            self.cursor, self.buffered = inner.cursor, inner.buffered
        except Exception as error:  # noqa: BLE001 - foreign code, whatever it raises
            self.failure = _failure(self._who, error)
            return []
        strange = next((event for event in events if type(event) not in _EVENTS), None)
        if strange is None and (self.failure is None or isinstance(self.failure, EngineError)):
            return events
        self.failure = CallbackError(f"{self._who} gave {type(strange).__name__}, not an event")
        return []


class GuardedSession:
    """A `SessionDialect` around one that is not built in. A failure outside of an answer ends the
    session, which is LOST then."""

    def __init__(self, inner: SessionDialect, who: str) -> None:
        self._inner = inner
        self._who = f"the sessions of {who}"

    @property
    def answers(self) -> Dialect:
        return GuardedDialect(self._inner.answers, self._who)

    def path(self, endpoint: Endpoint, /) -> str:
        return _guard(self._who, str, self._inner.path, endpoint)

    def envelope(self, data: bytes, /) -> Envelope | None:
        return _guard(self._who, Envelope | None, self._inner.envelope, data)

    def on_lane(self, message: bytes, lane: str, /) -> str:
        return _guard(self._who, str, self._inner.on_lane, message, lane)

    def cancel(self, lane: str | None, /) -> str:
        return _guard(self._who, str, self._inner.cancel, lane)

    def repeatable(self, message: Mapping[str, Any], /) -> bool:
        return _guard(self._who, bool, self._inner.repeatable, message)

    def after(self, request: ChatRequest, answer: str, /) -> ChatRequest:
        return _guard(self._who, type(request), self._inner.after, request, answer)

    def dialogue(self) -> DialogueDecoder:
        return GuardedDialogue(_guard(self._who, object, self._inner.dialogue), self._who)


class GuardedDialogue:
    """A `DialogueDecoder` whose exceptions are `CallbackError`s of its reader."""

    def __init__(self, inner: DialogueDecoder, who: str) -> None:
        self._inner = inner
        self._who = who

    def feed(self, event: Mapping[str, Any], /) -> list[StreamEvent | Failed]:
        return _guard(self._who, list, self._inner.feed, event)


def _guard(
    who: str,
    expected: type | UnionType,
    call: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """What `call` returns.

    Raises:
        CallbackError: it raised, or what it returned is not of the type that is `expected`.
    """
    try:
        value = call(*args, **kwargs)
    except EngineError:
        raise
    except Exception as error:
        raise _failure(who, error) from error
    if not isinstance(value, expected):
        name = getattr(expected, "__name__", str(expected))
        msg = f"{who} returned {type(value).__name__} where {name} belongs"
        raise CallbackError(msg)
    return value


def _failure(who: str, error: Exception) -> CallbackError:
    failure = CallbackError(f"{who} raised {type(error).__name__}; see __cause__")
    failure.__cause__ = error
    return failure
