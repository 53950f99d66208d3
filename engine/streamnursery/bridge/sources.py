"""Requests of a host: pulled from their source there, begun in the engine, and counted.

Rule 1: at most `max_in_flight` requests have been taken from the source and not yet been handed to
        the consumer; the next one is taken when one of them is.
Rule 2: a request that fails is an outcome. Only the source's own exception, and a bug, are raised.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from streamnursery.bridge.channel import Asks
from streamnursery.bridge.many import CollectHalf, MergeHalf, OneOfMany, Watch
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.own_calls import OwnCall
from streamnursery.bridge.streams import opener
from streamnursery.scheduler.run.bulk import Work, not_a_request
from streamnursery.values.call_options import Call
from streamnursery.values.completion import Outcome
from streamnursery.values.errors import EngineError, RequestError
from streamnursery.values.request import ChatRequest


class InFlight:
    """The requests of one call. `items` is what can be handed to the consumer."""

    def __init__(
        self,
        host: Asks,
        post: Callable[[OneOfMany], None],
        *,
        merge: bool,
        max_in_flight: int,
        asked: int | None,
        run_call: Callable[[OwnCall], None],
    ) -> None:
        """`run_call` has the host run a call, which says by itself that it is over."""
        self.box = Mailbox(report=self._report)
        self.items: deque[Any] = deque()
        self.running: dict[OneOfMany | OwnCall, Work] = {}
        self.room = max_in_flight
        self.exhausted = False
        """The source has nothing more."""
        self.error: BaseException | None = None
        """Of the source, or a bug: raised to the consumer behind what is there."""
        self._host = host
        self._post = post
        self._run_call = run_call
        self._kind: type[OneOfMany] = MergeHalf if merge else CollectHalf
        self._watch = Watch(asked)
        self._merging: dict[MergeHalf, None] = {}
        self._count = 0

    def pull(self, source: Iterator[Work]) -> None:
        """Take requests from `source` while there is room."""
        while self.room and not self.exhausted and self.error is None:
            try:
                request = next(source)
            except StopIteration:
                self.exhausted = True
            except Exception as error:  # noqa: BLE001 - the source's own, for its owner
                self.error = error
            else:
                self.begin(request)

    def begin(self, request: Work) -> None:
        if isinstance(request, Call) and self._kind is CollectHalf:
            own = OwnCall(self._host, self.box, self._count, request)
            self._count += 1
            self.room -= 1
            self.running[own] = request
            self._run_call(own)
            return
        half = self._kind(self._host, self.box, opener(request), self._count, self._watch)
        if isinstance(half, MergeHalf):
            half.merging = self._merging
        self._count += 1
        self.room -= 1
        self.running[half] = request
        if isinstance(request, ChatRequest):
            self._post(half)
        else:
            half.fail(not_a_request(request, calls=self._kind is CollectHalf))

    def absorb(self, items: list[Any]) -> None:
        """What the box has brought."""
        for item in items:
            if not isinstance(item, OneOfMany | OwnCall):
                self.items.append(item)
                continue
            request = self.running.pop(item)
            if isinstance(item, OwnCall):
                self.error = self.error or item.bug
                self.items.append(item.outcome())
            elif isinstance(item, CollectHalf):
                self._add_outcome(item, request)
            else:
                self.room += 1
                if item.error is not None and not isinstance(item.error, EngineError):
                    self.error = self.error or item.error

    def _add_outcome(self, half: CollectHalf, request: Work) -> None:
        try:
            outcome = Outcome(half.number, request, completion=half.completion())
        except EngineError as error:
            outcome = Outcome(half.number, request, error=error)
        except Exception as bug:  # noqa: BLE001 - raised to the consumer
            self.error = self.error or bug
            return
        self.items.append(outcome)

    def hand_out(self) -> Any:
        """The next one for the consumer."""
        item = self.items.popleft()
        if isinstance(item, Outcome):
            self.room += 1
        return item

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.exhausted and not self.running

    def leaving(self) -> Callable[[], None]:
        """What ends all that runs now, to be called in the engine's thread; own calls are ended
        at once. Nothing more is begun."""
        self.exhausted = True
        halves = [half for half in self.running if isinstance(half, OneOfMany)]
        for own in [own for own in self.running if isinstance(own, OwnCall)]:
            own.cancel()

        def leave() -> None:
            for half in halves:
                half.leave()

        return leave

    def _report(self) -> None:
        """In the engine's thread, where `merging` is kept."""
        for half in tuple(self._merging):
            half.report()


def iterator_of(requests: object) -> Iterator[Work]:
    """Of a source that is not an async one.

    Raises:
        RequestError: it is not iterable.
    """
    try:
        if isinstance(requests, str | bytes):
            raise TypeError
        found: Iterator[Work] = iter(requests)  # type: ignore[call-overload]
    except TypeError:
        msg = f"requests must be an iterable of ChatRequest, not {type(requests).__name__}"
        raise RequestError(msg) from None
    return found


def checked_bound(max_in_flight: int) -> int:
    """Raise `RequestError` unless it is 1 or more."""
    if max_in_flight < 1:
        msg = f"max_in_flight must be 1 or more, not {max_in_flight}"
        raise RequestError(msg)
    return max_in_flight
