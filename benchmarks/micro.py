"""What the parts without I/O cost, with pyperf: `python -m benchmarks.micro [-o FILE] [--fast]`.

pyperf's own options hold: `python -m pyperf compare_to OLD NEW` says what differs between two
files. On a machine that others use two runs of the same code differ by a third: measure A, A, B.
"""

import datetime
from random import Random

import pyperf
import trio

from engine.core.bucket import Bucket
from engine.core.ledger import Ledger
from engine.core.ready_queue import ReadyQueue, Ticket
from engine.pipeline.channel import BufferTotal, Channel
from engine.values.budgets import Budgets
from engine.values.events import TextDelta
from engine.values.money import Money
from engine.values.spending import Payer
from engine.wire.openai_chat_stream import OpenAIChatStream
from engine.wire.sse import SSEDecoder

CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}\n\n'
)
READ = CHUNK * 100
EVENTS = [TextDelta(" token")]


def sse() -> None:
    """100 events of one read."""
    SSEDecoder().read(READ)


def chat() -> None:
    """The same, to stream events."""
    OpenAIChatStream().feed(READ)


def chat_one_at_a_time() -> None:
    """100 reads of one event."""
    decoder = OpenAIChatStream()
    for _ in range(100):
        decoder.feed(CHUNK)


async def _channel(batches: int) -> None:
    channel = Channel(max_events=1000, max_bytes=1 << 20, total=BufferTotal(1 << 30))
    for _ in range(batches):
        channel.put(EVENTS, 10)
        await channel.receive()


def channel() -> None:
    """1,000 batches put and received, a trio run included."""
    trio.run(_channel, 1000)


def ready_queue() -> None:
    """1,000 tickets in 10 lanes, pushed and popped."""
    dice, queue = Random(1), ReadyQueue()
    for number in range(1000):
        queue.push(Ticket(number % 10, (dice.randrange(3), number)))
    while queue.pop(lambda _: True) is not None:
        pass


def bucket() -> None:
    """1,000 requests at 10,000 a minute: when, take, correct."""
    limit = Bucket(10_000)
    for number in range(1000):
        now = number * 0.006
        limit.date(1, now)
        limit.correct(limit.take(1, now), 0, now)


def ledger() -> None:
    """1,000 holds against a day's and a month's budget, each dropped again."""
    budgets = Budgets(daily=Money(10**15), monthly=Money(10**16))
    book, payer = Ledger(budgets, datetime.UTC), Payer("m", "", "main")
    for number in range(1000):
        book.hold(number, payer, 1000, 1.8e9)
        book.drop(number)


def main() -> None:
    """Measure each."""
    runner = pyperf.Runner()
    for part in (sse, chat, chat_one_at_a_time, channel, ready_queue, bucket, ledger):
        runner.bench_func(part.__name__, part)


if __name__ == "__main__":
    main()
