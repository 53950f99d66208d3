"""What can be asked of a stream whose events have crossed to another thread.

While it runs, what is made of several parts is asked in the engine's thread; the caller waits for
its next step. What is one value is read as it stands, as is everything of a stream that has ended.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from streamnursery.bridge.asks import Ask, Tell
from streamnursery.bridge.hosts import SyncHost
from streamnursery.bridge.outbox import HostOutbox, Mailbox
from streamnursery.bridge.streams import StreamHalf
from streamnursery.bridge.thread import EngineThread
from streamnursery.bridge.words import same_words
from streamnursery.facade import Engine
from streamnursery.pipeline.delivery import Delivery
from streamnursery.pipeline.stream import StreamStatistics, TokenStream
from streamnursery.values.cost import Cost, total_cost
from streamnursery.values.errors import AttemptRecord, EngineClosedError, EngineError
from streamnursery.values.partial import Partial
from streamnursery.values.request import ChatRequest
from streamnursery.values.timings import Timings
from streamnursery.values.usage import Usage

T = TypeVar("T")


def ask(thread: EngineThread, function: Callable[[Engine], T]) -> T:
    """What `function` of the engine comes to; waits for a step of the engine's thread.

    Raises:
        EngineClosedError: the engine has ended.
    """
    host = SyncHost(thread.crossings.border)
    question = Ask(host, function)
    thread.post(question)
    while not question.box.over:
        host.wait(question.box, for_over=True)
    return question.result()


class StreamView:
    """The part of a stream that does not wait for events."""

    _box: Mailbox
    _half: StreamHalf
    _outbox: HostOutbox
    _thread: EngineThread

    @property
    @same_words(TokenStream.number)
    def number(self) -> int:
        return self._delivery.number

    @property
    @same_words(TokenStream.request)
    def request(self) -> ChatRequest:
        return self._delivery.request

    @property
    @same_words(TokenStream.timings)
    def timings(self) -> Timings:
        return self._looked_at(Delivery.timings)

    @property
    @same_words(TokenStream.last_content_at)
    def last_content_at(self) -> float | None:
        return self._delivery.last_token_at

    @property
    @same_words(TokenStream.cost)
    def cost(self) -> Cost:
        return total_cost(self._looked_at(lambda delivery: tuple(delivery.attempts)))

    @property
    @same_words(TokenStream.usage)
    def usage(self) -> Usage | None:
        return self._looked_at(lambda delivery: delivery.usage)

    @property
    @same_words(TokenStream.partial)
    def partial(self) -> Partial:
        return self._looked_at(Delivery.partial)

    @property
    @same_words(TokenStream.route)
    def route(self) -> str | None:
        return self._delivery.route

    @property
    @same_words(TokenStream.request_id)
    def request_id(self) -> str | None:
        return self._delivery.request_id

    @property
    @same_words(TokenStream.attempts)
    def attempts(self) -> tuple[AttemptRecord, ...]:
        return self._looked_at(lambda delivery: tuple(delivery.attempts))

    @property
    @same_words(TokenStream.error)
    def error(self) -> EngineError | None:
        return self._delivery.error

    @same_words(TokenStream.waiting_for)
    def waiting_for(self) -> str | None:
        return self._looked_at(lambda delivery: TokenStream(delivery).waiting_for())

    @same_words(TokenStream.statistics)
    def statistics(self) -> StreamStatistics:
        if not self._box.over and self._half.channel is not None:
            self._call_engine(self._half.channel.collect)  # before the question, in order
        return self._looked_at(lambda delivery: TokenStream(delivery).statistics())

    @same_words(TokenStream.cancel)
    def cancel(self) -> None:
        self._call(lambda delivery: TokenStream(delivery).cancel())

    @same_words(TokenStream.detach)
    def detach(self) -> None:
        self._call(lambda delivery: TokenStream(delivery).detach())

    def __repr__(self) -> str:
        delivery = self._delivery
        state = delivery.outcome.value if delivery.outcome else "running"
        return f"<{type(self).__name__} {delivery.request.model} {state}>"

    @property
    def _delivery(self) -> Delivery:
        assert self._half.delivery is not None
        return self._half.delivery

    def _looked_at(self, look: Callable[[Delivery], T]) -> T:
        if not self._box.over:
            try:
                return ask(self._thread, lambda _: look(self._delivery))
            except EngineClosedError:
                pass  # nothing changes any more
        return look(self._delivery)

    def _call(self, function: Callable[[Delivery], object]) -> None:
        """Have it called in the engine's thread; nothing to do there once the engine has ended."""
        if not self._box.over:
            self._call_engine(lambda: self._half.call(function))

    def _call_engine(self, function: Callable[[], object]) -> None:
        with suppress(EngineClosedError):
            self._thread.post(Tell(function))
