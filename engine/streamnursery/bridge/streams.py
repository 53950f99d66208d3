"""A stream's half in the engine's thread. No task is made for its reader."""

from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from streamnursery.bridge.channel import Asks, ForeignChannel
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.pulled import PulledChannel, foreign_channel
from streamnursery.bridge.thread import EngineThread
from streamnursery.facade import Engine
from streamnursery.pipeline.channel import BufferTotal, Channel
from streamnursery.pipeline.delivery import Delivery
from streamnursery.pipeline.relayed import Refusal
from streamnursery.scheduler.admission.nesting import asker, holdings
from streamnursery.scheduler.run.dispatcher import StreamBlock
from streamnursery.scheduler.run.relay_block import RelayBlock
from streamnursery.values.events import StreamEvent
from streamnursery.values.policy import WhenBehind

OpenBlock = Callable[[Engine], StreamBlock | RelayBlock]
"""Makes a stream's block, in the engine's thread."""


def opener(model: Any, prompt: Any = None, **options: Any) -> OpenBlock:
    """Opens what `Engine.stream` does."""

    def open_block(engine: Engine) -> StreamBlock:
        block = engine.stream(model, prompt, **options)
        assert isinstance(block, StreamBlock)
        return block

    return open_block


def relay_opener(model: str | None, path: str, body: Any, **options: Any) -> OpenBlock:
    """Opens what `Engine.relay` does."""

    def open_block(engine: Engine) -> RelayBlock:
        block = engine.relay(model, path, body, **options)
        assert isinstance(block, RelayBlock)
        return block

    return open_block


class Half:
    """A request that is begun by one call and left by another."""

    def __init__(self, host: Asks, box: Mailbox, open_block: OpenBlock) -> None:
        self.box = box
        self.delivery: Delivery | None = None
        """Once begun."""
        self.host = host
        self._open_block = open_block
        self._context: Context = copy_context()
        if holdings.get():
            self._context.run(asker.set, host.task())
        self._block: StreamBlock | RelayBlock | None = None
        self.left = False
        """The reader has gone, or need not say so any more."""
        self._thread: EngineThread | None = None

    def run(self, thread: EngineThread) -> None:
        self._thread = thread
        self._context.run(self._begin, thread)

    def _begin(self, thread: EngineThread) -> None:
        block = self._open_block(thread.engine)
        delivery = block.begin(self._channel, self._task_over)
        self._block, self.delivery = block, delivery
        thread.held[self] = None
        delivery.counts_when_put = True  # when it is taken is the host's affair
        # Behind the engine's own books: at the end that the host sees they are settled.
        delivery.on_settled = partial(self._settled, delivery.on_settled)
        self._begun()

    def leave(self) -> None:
        """The reader has gone; in the engine's thread. Idempotent."""
        if self.left:
            return
        self.left = True
        if self._block is None:
            return  # never begun
        self._block.leave()
        assert self.delivery is not None
        if self.delivery.draining:
            self._over()  # as far as the reader is concerned

    def abandon(self) -> None:
        self.leave()

    def _task_over(self) -> None:
        assert self._thread is not None
        self._thread.held.pop(self, None)
        self._over()

    def call(self, function: Callable[[Delivery], object]) -> None:
        """`function` of the delivery, in the engine's thread."""
        if self.delivery is not None:
            function(self.delivery)

    def _tell(self, items: list[Any]) -> None:
        if self.host.outbox.tell(self.box, items):
            self.host.wake()

    def _settled(self, book: Callable[[Delivery], None], delivery: Delivery) -> None:
        try:
            book(delivery)
        finally:
            self._end(delivery)

    def fail(self, error: BaseException) -> None:
        raise NotImplementedError

    def _channel(self, max_items: int, max_bytes: int, total: BufferTotal) -> Channel[StreamEvent]:
        raise NotImplementedError

    def _begun(self) -> None:
        """The engine has it; for those whose host waits for that."""

    def _end(self, delivery: Delivery) -> None:
        raise NotImplementedError

    def _over(self) -> None:
        raise NotImplementedError


class StreamHalf(Half):
    """Of a stream with its own box. An empty batch says that it has begun."""

    def __init__(
        self, host: Asks, box: Mailbox, open_block: OpenBlock, when_behind: WhenBehind
    ) -> None:
        super().__init__(host, box, open_block)
        self.channel: ForeignChannel | PulledChannel | None = None
        self._when_behind = when_behind
        box.report = self._report

    def fail(self, error: BaseException) -> None:
        if self.host.outbox.end(self.box, error):
            self.host.wake()
        self._over()

    def _channel(self, max_items: int, max_bytes: int, total: BufferTotal) -> Channel[StreamEvent]:
        assert self._thread is not None
        self._total = total
        self.channel = channel = foreign_channel(
            self._when_behind,
            self._thread.crossings,
            self.host,
            self.box,
            max_items=max_items,
            max_bytes=max_bytes,
            total=total,
        )
        return channel

    def _begun(self) -> None:
        self._tell([])

    def _end(self, delivery: Delivery) -> None:
        assert self.channel is not None
        self.channel.end(delivery.error)

    def _over(self) -> None:
        if not self.left and isinstance(self.channel, ForeignChannel):
            # Left here, so that its reader need not call again; what is unread stays there.
            self.channel.hand_over()
            self.leave()
        if self.host.outbox.finish(self.box, ended=False):  # `_end` says so
            self.host.wake()

    def _report(self) -> None:
        """The reader has done with something, in the engine's thread."""
        if self.channel is not None:
            assert self._thread is not None
            self.channel.collect()
            if self._total.held_back or self._thread.crossings.border.report_all:
                self._thread.crossings.reported(self._total)


class RelayHalf(StreamHalf):
    """Of a relay, whose batches are bytes."""

    def __init__(self, host: Asks, box: Mailbox, open_block: OpenBlock) -> None:
        super().__init__(host, box, open_block, "block")

    def refusal(self) -> Refusal | None:
        """The latest answer that said no; read when the relay has ended."""
        return self._block.refusal() if isinstance(self._block, RelayBlock) else None
