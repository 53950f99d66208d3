"""Compares what consumers were handed with what the providers said: nothing lost, nothing doubled.

Rule 1: the truth is the provider's log. A consumer's events are compared with the deltas of one
        provider request, one by one: the n-th with the n-th.
Rule 2: which request that is, the attempt says by the provider's own id. No two streams may name
        the same one.
Rule 3: only `Restarted` begins another comparison. After `Resumed` the words are another request's
        and cannot be compared.
Rule 4: a complete stream has all of the provider's deltas; a broken one as many as were handed out
        before its end, and all that were sent if the end was a clean cut.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import TypeAlias

from streamnursery.pipeline.delivery import StreamOutcome
from streamnursery.scheduler.run.own_streams import OWN
from streamnursery.simulator import Cut, UsageLie
from streamnursery.simulator.log import RequestRecord
from streamnursery.testing.consumers import TOLERANCE, ConsumerRecord, delivery_of
from streamnursery.testing.pieces import (
    Piece,
    as_heard,
    deltas_of,
    heard_pieces,
    opaque_parts,
    said_pieces,
    spoiled,
    tells_calls_at_once,
)
from streamnursery.values.errors import AttemptState, ConnectionLostError, TruncatedStreamError
from streamnursery.values.events import (
    Finished,
    Restarted,
    Resumed,
    StreamEvent,
    UsageReport,
)

Log: TypeAlias = Mapping[str, RequestRecord]
"""What all providers were asked, by their ids."""

_SENT = (AttemptState.COMMITTED, AttemptState.DONE)


def history_problems(streams: Sequence[ConsumerRecord], log: Log) -> Iterator[str]:
    """Everything that is wrong with what `streams` were handed."""
    for stream in streams:
        for problem in _stream_problems(stream, log):
            yield f"{stream}: {problem}"
    yield from _shared(streams)


def _stream_problems(record: ConsumerRecord, log: Log) -> Iterator[str]:
    yield from record.problems
    yield from _ending(record)
    yield from _attempts(record)
    yield from _content(record, log)


# How it ended. --------------------------------------------------------------------------------


def _ending(record: ConsumerRecord) -> Iterator[str]:
    outcome = delivery_of(record.stream).outcome
    if any(type(event) is Finished for event in record.events[:-1]):
        yield "events were handed out after Finished"
    if record.finished and record.error is not None:
        yield f"it finished and failed with {record.error!r} as well"
    if record.finished and outcome is not StreamOutcome.COMPLETE:
        yield f"its consumer was told that it finished, and its outcome is {outcome}"
    if record.error is not None and record.error is not record.stream.error:
        yield f"its consumer was told {record.error!r}, and its error is {record.stream.error!r}"
    # A `Restarted` that was never read has emptied the partial all the same.
    once = sum(attempt.state in _SENT for attempt in record.stream.attempts) <= 1
    if once and not record.stream.partial.text.startswith(record.text):
        yield "its partial lacks text that was handed out"
    ended_at = record.stream.timings.ended_at
    if ended_at is not None and ended_at > record.deadline + TOLERANCE:
        yield f"it ended {ended_at - record.deadline:.3f} s after its deadline"


def _marked(events: Iterable[StreamEvent]) -> int:
    return sum(type(event) in (Restarted, Resumed) for event in events)


def _attempts(record: ConsumerRecord) -> Iterator[str]:
    attempts = record.stream.attempts
    restarts = _marked(record.events)
    committed = [attempt.number for attempt in attempts if attempt.state in _SENT]
    read_out = record.finished or (
        record.error is not None and not delivery_of(record.stream).revoked
    )
    if read_out and len(committed) > restarts + 1:
        yield f"attempts {committed} all delivered content, with {restarts} marks between them"
    for before, after in pairwise(attempts):
        if after.started_at < before.ended_at and not (before.hedge or after.hedge):
            yield f"attempt {after.number} began before attempt {before.number} had ended"


def _shared(streams: Sequence[ConsumerRecord]) -> Iterator[str]:
    owners: dict[str, ConsumerRecord] = {}
    for stream in streams:
        for attempt in stream.stream.attempts:
            if attempt.request_id is None:
                continue
            owner = owners.setdefault(attempt.request_id, stream)
            if owner is not stream:
                yield f"{owner} and {stream} both had their answer from {attempt.request_id}"


# What it said. --------------------------------------------------------------------------------


_OWN = f"{OWN}/"


def _content(record: ConsumerRecord, log: Log) -> Iterator[str]:
    runs = [run for run in _runs(record.events) if any(heard_pieces(run))]
    if not runs or any(type(event) is Resumed for event in record.events):
        return
    if any(attempt.route.startswith(_OWN) for attempt in record.stream.attempts):
        return  # an iterator of the caller's has said it, and no provider knows
    asked = _requests(record, log)
    if len(asked) < len(runs):
        yield "it was handed content that no provider was asked for"
        return
    # An attempt may have committed and nothing of it been read: then it is the last one.
    for run, request in zip(runs, asked, strict=False):
        yield from _compared(run, request)
    if len(runs) == len(asked):
        yield from _whole(record, asked[-1])


def _runs(events: Iterable[StreamEvent]) -> list[list[StreamEvent]]:
    """The events between marks."""
    runs: list[list[StreamEvent]] = [[]]
    for event in events:
        if type(event) is Restarted:
            runs.append([])
        else:
            runs[-1].append(event)
    return runs


def _requests(record: ConsumerRecord, log: Log) -> list[RequestRecord]:
    """The provider's records of the attempts that delivered something, in order."""
    stream = record.stream
    ids = [a.request_id for a in stream.attempts if a.state in _SENT]
    if not record.over and stream.request_id not in ids:
        ids.append(stream.request_id)
    return [log[i] for i in ids if i is not None and i in log]


def _compared(run: list[StreamEvent], request: RequestRecord) -> Iterator[str]:
    heard = list(as_heard(heard_pieces(run), request))
    said = said_pieces(request)
    for place, (mine, theirs) in enumerate(zip_longest(heard, said)):
        if mine is None:
            return
        if mine == theirs or (theirs is not None and spoiled(mine, place, request)):
            continue
        told = "nothing more" if theirs is None else repr(theirs)
        guess = _guess(heard, said, place)
        yield f"delta {place} was {mine!r}, and {request.id} said {told}: {guess}"
        return
    if len(heard) > request.sent_tokens + len(said) - deltas_of(request):
        yield f"it was handed {len(heard)} deltas, and {request.id} sent {request.sent_tokens}"


def _guess(heard: list[Piece], said: list[Piece], place: int) -> str:
    """The likeliest word for the first difference."""
    if heard[place] in said[:place]:
        return "doubled?"
    return "reordered?" if said[place : place + 1] and said[place] in heard[place:] else "lost?"


def _whole(record: ConsumerRecord, request: RequestRecord) -> Iterator[str]:
    delivery = delivery_of(record.stream)
    meant = len(said_pieces(request))
    runs = [len(list(heard_pieces(run))) for run in _runs(record.events)]
    if delivery.outcome is StreamOutcome.COMPLETE:
        # A signature, or another part that is not read, is content and no delta.
        void = sum(runs[:-1]) + opaque_parts(record.events)
        if delivery.content_events - void != meant:
            yield f"it is complete with {delivery.content_events - void} of {meant} deltas"
        yield from _usage(record, request)
    if record.finished and runs[-1] != meant:
        yield f"it finished, and not all of the {meant} deltas were handed out"
    if record.error is None or delivery.revoked:
        return
    heard = len(list(heard_pieces(record.events)))
    if heard + opaque_parts(record.events) != delivery.content_events:
        yield f"{delivery.content_events} deltas were delivered and {heard} were handed out"
    lost = isinstance(record.error, TruncatedStreamError | ConnectionLostError)
    if tells_calls_at_once(request):
        return
    if lost and _cut_between_deltas(request) and heard < request.sent_tokens:
        yield f"{request.id} sent {request.sent_tokens} deltas before the cut, {heard} arrived"


def _cut_between_deltas(request: RequestRecord) -> bool:
    cuts = [fault for fault in request.script if isinstance(fault, Cut)]
    return request.ending == "cut" and all(cut.unit == "tokens" for cut in cuts)


def _usage(record: ConsumerRecord, request: RequestRecord) -> Iterator[str]:
    if any(isinstance(fault, UsageLie) for fault in request.script) or request.reply is None:
        return
    reports = [event.usage for event in record.events if type(event) is UsageReport]
    if not reports or "output_tokens" not in reports[-1].reported:
        return
    told, true = reports[-1].output_tokens, request.reply.output_tokens
    if told != true:
        yield f"it was told of {told} output tokens, and {request.id} counted {true}"
