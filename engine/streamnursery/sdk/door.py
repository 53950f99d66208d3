"""A transport of an HTTP client whose requests an engine relays.

Rule 1: what is the caller's goes to the origin that the SDK has named: its key, its query, its
        other headers. On any other endpoint the engine's own key is sent (law 11).
Rule 2: what the engine refuses becomes an answer in the language of the path, and what broke on
        the way an error of the HTTP library, or of an SDK that does not know those the event that
        its API has for it (`last_event.py`).
Rule 3: closing an answer is leaving its relay; one that is dropped is left as well.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from types import ModuleType
from typing import Any, TypeVar

from streamnursery.aio import opening as aio_opening
from streamnursery.aio.engine import AioEngine
from streamnursery.facade import Engine
from streamnursery.sdk.asked import Asked, asked_of
from streamnursery.sdk.last_event import AsyncWholeEvents, wants_whole_events, whole_events
from streamnursery.sdk.refusals import broken, language_of, refused
from streamnursery.sync import opening as sync_opening
from streamnursery.sync.engine import SyncEngine
from streamnursery.values.errors import EngineError

T = TypeVar("T")

_SETTLED = ("x-should-retry", "false")
"""The engine has retried what may be retried."""


def _headers(status: int, headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    if status < 400:
        return list(headers)
    return [*(pair for pair in headers if pair[0] != _SETTLED[0]), _SETTLED]


def async_door(library: ModuleType, eng: Engine | AioEngine | None) -> Any:
    """A transport for `library.AsyncClient`."""

    class RelayedBody(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        """The bytes of one answer."""

        def __init__(
            self, block: AbstractAsyncContextManager[Any], answer: AsyncIterator[bytes]
        ) -> None:
            self._block: AbstractAsyncContextManager[Any] | None = block
            self._answer = answer

        def __aiter__(self) -> "RelayedBody":
            return self  # no generator: SDKs leave them to the garbage collector

        async def __anext__(self) -> bytes:
            try:
                return await self._answer.__anext__()
            except EngineError as error:
                raise broken(library, error) from error

        async def aclose(self) -> None:
            block, self._block = self._block, None
            if block is not None:
                await block.__aexit__(None, None, None)

        def __del__(self) -> None:
            _abandon(self._block)

    class AsyncDoor(library.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        """Relays."""

        async def handle_async_request(self, request: Any) -> Any:
            body = await request.aread()
            asked = None
            try:
                engine = eng if eng is not None else aio_opening.shared()
                asked = asked_of(request, body, engine.config)
                block = _relay(engine, asked)
                answer = await block.__aenter__()
            except EngineError as error:
                return _refusal(library, request, asked, error)
            return library.Response(
                answer.status,
                headers=_headers(answer.status, answer.headers),
                stream=RelayedBody(
                    block,
                    AsyncWholeEvents(answer) if _in_events(asked, request, answer) else answer,
                ),
                request=request,
            )

    return AsyncDoor()


def door(library: ModuleType, eng: SyncEngine | None) -> Any:
    """A transport for `library.Client`."""

    class RelayedBody(library.SyncByteStream):  # type: ignore[misc, name-defined]
        """The bytes of one answer."""

        def __init__(self, block: AbstractContextManager[Any], answer: Iterator[bytes]) -> None:
            self._block: AbstractContextManager[Any] | None = block
            self._answer = answer

        def __iter__(self) -> Iterator[bytes]:
            try:
                yield from self._answer
            except EngineError as error:
                raise broken(library, error) from error

        def close(self) -> None:
            block, self._block = self._block, None
            if block is not None:
                block.__exit__(None, None, None)

        def __del__(self) -> None:
            _abandon(self._block)

    class Door(library.BaseTransport):  # type: ignore[misc, name-defined]
        """Relays."""

        def handle_request(self, request: Any) -> Any:
            body = request.read()
            asked = None
            try:
                engine = eng if eng is not None else sync_opening.shared()
                asked = asked_of(request, body, engine.config)
                block = _relay(engine, asked)
                answer = block.__enter__()
            except EngineError as error:
                return _refusal(library, request, asked, error)
            return library.Response(
                answer.status,
                headers=_headers(answer.status, answer.headers),
                stream=RelayedBody(
                    block, whole_events(answer) if _in_events(asked, request, answer) else answer
                ),
                request=request,
            )

    return Door()


def _relay(engine: Any, asked: Asked) -> Any:
    return engine.relay(
        None,
        asked.path,
        asked.body,
        method=asked.method,
        headers=asked.headers,
        endpoint=asked.endpoint,
        tenant=asked.tenant,
        priority=asked.priority,
        timeout=asked.timeout,
    )


def _in_events(asked: Asked, request: Any, answer: Any) -> bool:
    kinds = [value for name, value in answer.headers if name.lower() == "content-type"]
    language = language_of(asked.language, request.url.path)
    return wants_whole_events(language, answer.status, kinds[0] if kinds else "")


def _refusal(library: ModuleType, request: Any, asked: Asked | None, error: EngineError) -> Any:
    """The answer that says what the engine says, or the error of the library that it is.

    Raises:
        Exception: that error.
    """
    language = asked.language if asked is not None else ""
    answer = refused(error, language, request.url.path)
    if answer is None:
        raise broken(library, error) from error
    status, headers, body = answer
    return library.Response(
        status, headers=_headers(status, headers), content=body, request=request
    )


def _abandon(block: object) -> None:
    """Leave a relay whose answer was dropped; in any thread."""
    abandon: Callable[[], None] | None = getattr(block, "abandon", None)
    if abandon is not None:
        with suppress(EngineError, RuntimeError):
            abandon()
