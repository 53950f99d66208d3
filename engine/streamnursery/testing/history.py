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
from streamnursery.simulator import BadUtf8, Cut, UsageLie
from streamnursery.simulator.log import RequestRecord
from streamnursery.testing.consumers import TOLERANCE, ConsumerRecord, delivery_of
from streamnursery.values.errors import AttemptState, ConnectionLostError, TruncatedStreamError
from streamnursery.values.events import (
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Restarted,
    Resumed,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from streamnursery.values.opaque import OpaquePart

Piece: TypeAlias = tuple[int, str, object]
"""Choice, kind and content of one delta."""
Log: TypeAlias = Mapping[str, RequestRecord]
"""What all providers were asked, by their ids."""

_KINDS: dict[type, str] = {TextDelta: "text", ReasoningDelta: "reasoning", RefusalDelta: "refusal"}
_PARTS = {
    "content": "text",
    "refusal": "refusal",
    "reasoning": "reasoning",
    "reasoning_content": "reasoning",
}
_OPENAI = ("/chat/completions", "/responses")
"""The APIs that tell a refusal apart from text."""
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


def _content(record: ConsumerRecord, log: Log) -> Iterator[str]:
    runs = [run for run in _runs(record.events) if any(_pieces(run))]
    if not runs or any(type(event) is Resumed for event in record.events):
        return
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
    heard, said = list(_pieces(run)), _said(request)
    for place, (mine, theirs) in enumerate(zip_longest(heard, said)):
        if mine is None:
            return
        if mine == theirs or (theirs is not None and _spoiled(mine, place, request)):
            continue
        told = "nothing more" if theirs is None else repr(theirs)
        guess = _guess(heard, said, place)
        yield f"delta {place} was {mine!r}, and {request.id} said {told}: {guess}"
        return
    if len(heard) > request.sent_tokens + len(said) - _deltas(request):
        yield f"it was handed {len(heard)} deltas, and {request.id} sent {request.sent_tokens}"


def _guess(heard: list[Piece], said: list[Piece], place: int) -> str:
    """The likeliest word for the first difference."""
    if heard[place] in said[:place]:
        return "doubled?"
    return "reordered?" if said[place : place + 1] and said[place] in heard[place:] else "lost?"


def _whole(record: ConsumerRecord, request: RequestRecord) -> Iterator[str]:
    delivery = delivery_of(record.stream)
    meant = len(_said(request))
    runs = [len(list(_pieces(run))) for run in _runs(record.events)]
    if delivery.outcome is StreamOutcome.COMPLETE:
        # A signature, or another part that nobody reads, is content and no delta.
        void = sum(runs[:-1]) + _opaque_parts(record)
        if delivery.content_events - void != meant:
            yield f"it is complete with {delivery.content_events - void} of {meant} deltas"
        yield from _usage(record, request)
    if record.finished and runs[-1] != meant:
        yield f"it finished, and not all of the {meant} deltas were handed out"
    if record.error is None or delivery.revoked:
        return
    heard = len(list(_pieces(record.events)))
    if heard + _opaque_parts(record) != delivery.content_events:
        yield f"{delivery.content_events} deltas were delivered and {heard} were handed out"
    lost = isinstance(record.error, TruncatedStreamError | ConnectionLostError)
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


# Deltas, on both sides in one form. -----------------------------------------------------------


def _pieces(events: Iterable[StreamEvent]) -> Iterator[Piece]:
    for event in events:
        if isinstance(event, ToolCallDelta):
            content = (event.tool_index, event.id, event.name, event.arguments)
            yield event.index, "tool", content
        elif isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
            yield event.index, _KINDS[type(event)], event.text


def _deltas(request: RequestRecord) -> int:
    return request.reply.output_tokens if request.reply else 0


def _opaque_parts(record: ConsumerRecord) -> int:
    return sum(type(event) is OpaquePart for event in record.events)


def _said(request: RequestRecord) -> list[Piece]:
    if request.reply is None:
        return []
    openai = request.path.endswith(_OPENAI)
    # In the chat API half a character in place of a tool call is one that was never sent.
    chat = request.path.endswith(_OPENAI[0])
    unsaid = {fault.at for fault in request.script if isinstance(fault, BadUtf8) and chat}
    said = [
        _piece(index, part if openai or part != "refusal" else "content", content)
        for place, (index, part, content) in enumerate(request.reply.deltas())
        if part != "tool_calls" or place not in unsaid
    ]
    for place in _bare_calls(request, said):
        said.insert(place, (0, "tool", (_tool_index(said[place - 1]), None, None, "{}")))
    return said


def _bare_calls(request: RequestRecord, said: Sequence[Piece]) -> list[int]:
    """Places behind the calls that were broken off before their arguments, last one first: in the
    Messages API a call without arguments has none to give, and they are told as `{}`."""
    if not request.path.endswith("/messages"):
        return []
    following = [*said[1:], None]
    return [
        place + 1
        for place, (piece, after) in reversed(list(enumerate(zip(said, following, strict=True))))
        if piece[1] == "tool"
        and (after is None or after[1] != "tool" or _tool_index(after) != _tool_index(piece))
        and _opens(piece)
    ]


def _tool_index(piece: Piece) -> int:
    content = piece[2]
    assert isinstance(content, tuple)
    index: int = content[0]
    return index


def _opens(piece: Piece) -> bool:
    content = piece[2]
    return isinstance(content, tuple) and content[1] is not None and not content[3]


def _piece(index: int, part: str, content: object) -> Piece:
    if not isinstance(content, list):
        return index, _PARTS[part], content
    call = content[0]
    function = call["function"]
    told = (call["index"], call.get("id"), function.get("name"), function["arguments"])
    return index, "tool", told


def _spoiled(piece: Piece, place: int, request: RequestRecord) -> bool:
    """Half a character arrives as the character for that."""
    spoils = any(isinstance(fault, BadUtf8) and fault.at == place for fault in request.script)
    content = piece[2]
    said = content[3] if isinstance(content, tuple) else content
    return spoils and isinstance(said, str) and not said.strip("\ufffd")
