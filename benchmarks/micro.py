"""What the parts without I/O cost, with pyperf: `python -m benchmarks.micro [-o FILE] [--fast]`.

pyperf's own options hold: `python -m pyperf compare_to OLD NEW` says what differs between two
files. On a machine that others use two runs of the same code differ by a third: measure A, A, B.
"""

import datetime
from random import Random

import pyperf
import trio

from streamnursery.core.limits.bucket import Bucket
from streamnursery.core.limits.ready_queue import QueueTicket, ReadyQueue
from streamnursery.core.money.ledger import Ledger
from streamnursery.core.money.ledger_row import Posting, change, figures_of, posted
from streamnursery.core.money.settlement import AttemptEnd, Expected, settlement
from streamnursery.core.routing.router import Candidate, Needs, choose
from streamnursery.pipeline.channel import BufferTotal, Channel
from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.state import Http2State
from streamnursery.transport.http2.stream import Http2Stream
from streamnursery.values.budgets import Budgets
from streamnursery.values.errors import AttemptState
from streamnursery.values.events import TextDelta
from streamnursery.values.http import HttpRequest, Peer
from streamnursery.values.http2 import Http2Settings
from streamnursery.values.money import Money
from streamnursery.values.origin import Origin
from streamnursery.values.prices import BUILT_IN
from streamnursery.values.spending import LedgerRow, Payer
from streamnursery.values.usage import Usage
from streamnursery.wire.openai_chat.stream import OpenAIChatStream
from streamnursery.wire.sse import SSEDecoder

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
    channel = Channel(max_items=1000, max_bytes=1 << 20, total=BufferTotal(1 << 30))
    for _ in range(batches):
        channel.put(EVENTS, 10)
        await channel.receive()


def channel() -> None:
    """1,000 batches put and received, a trio run included."""
    trio.run(_channel, 1000)


def _line() -> tuple[Http2State, Http2Stream]:
    """An HTTP/2 connection with one stream whose answer has begun."""
    peer = Peer(Origin("https", "api.test", 443))
    state = Http2State("api.test", Http2Settings())
    state.receive(frames.settings({}), 0.0)
    stream = state.open(HttpRequest(peer, "POST", "/", ()))
    state.receive(frames.frame(frames.HEADERS, frames.END_HEADERS, stream.id, b"\x88"), 0.0)
    return state, stream


LINE = _line()
FRAME = frames.frame(frames.DATA, 0, 1, CHUNK)


def _receive(data: bytes) -> None:
    state, stream = LINE
    state.receive(data, 0.0)
    state.consumed(stream, len(stream.take()))
    state.output()


def http2_frames() -> None:
    """100 DATA frames of one read: taken in, consumed, given back."""
    _receive(FRAME * 100)


def http2_frames_one_at_a_time() -> None:
    """100 reads of one."""
    for _ in range(100):
        _receive(FRAME)


def ready_queue() -> None:
    """1,000 tickets in 10 lanes, pushed and popped."""
    dice, queue = Random(1), ReadyQueue()
    for number in range(1000):
        queue.push(QueueTicket(number % 10, (dice.randrange(3), number)))
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


def settle() -> None:
    """1,000 attempts reserved, ended with the provider's usage, priced and booked."""
    budgets = Budgets(daily=Money(10**15), monthly=Money(10**16))
    book, payer = Ledger(budgets, datetime.UTC), Payer("gpt-4.1", "", "main")
    price, expected = BUILT_IN["gpt-4.1"][0], Expected(10, 100, 90)
    done = AttemptEnd(AttemptState.DONE, 200, Usage(10, 90))
    for number in range(1000):
        row = LedgerRow(str(number), number, 1, payer, 1.8e9, "2027-01-15", 10**6, 10**6)
        book.book(row, figures_of(row))
        end = settlement(done, price, expected)
        tokens = (end.usage.input_tokens or 0, end.usage.output_tokens or 0)
        after = posted(row, Posting(row.id, end.news, end.amount, *tokens, end.flags))
        book.book(after, change(row, after))


CANDIDATES = [
    Candidate(f"m{n}", n % 10, 1000 * n, 0.2 + n / 50, 0.4 + n / 40, context=8000 * n)
    for n in range(1, 21)
]


def router() -> None:
    """1,000 choices among twenty models."""
    for number in range(1000):
        choose(Needs(4000, 500, number % 11, tools=number % 2 == 0), CANDIDATES)


PARTS = (
    sse,
    chat,
    chat_one_at_a_time,
    channel,
    http2_frames,
    http2_frames_one_at_a_time,
    ready_queue,
    bucket,
    ledger,
    settle,
    router,
)


def main() -> None:
    """Measure each."""
    runner = pyperf.Runner()
    for part in PARTS:
        runner.bench_func(part.__name__, part)


if __name__ == "__main__":
    main()
