"""Scenario B4: a provider that keeps its streams is asked for the rest of a broken one."""

import attrs
import pytest

from streamnursery import ConnectionLostError, RequestError, Restarted, Resumed
from streamnursery.values.http import HttpRequest
from tests.support.resumable import Kept, KeptTransport, Numbered
from tests.support.scene import Reading, Scene, ask, scene, virtual

WORDS = ["Only", " what", " was", " not", " yet", " read."]


def keep(s: Scene, *breaks: int | None, statuses: tuple[int, ...] = ()) -> Kept:
    """Put a provider that keeps its streams in the place of the scene's."""
    kept = Kept(WORDS, list(breaks), list(statuses))
    outlet = s.engine._outlets["main"]
    s.engine._outlets["main"] = attrs.evolve(
        outlet, dialect=Numbered(), transport=KeptTransport(kept)
    )
    return kept


def told(reading: Reading) -> list[int]:
    return [e.at for e in reading.events if isinstance(e, Resumed)]


def after(request: HttpRequest) -> object:
    return dict(request.headers).get("last-event-id")


@pytest.mark.parametrize("at", range(1, len(WORDS)))
def test_b4_the_rest_follows_after_the_cursor_and_usage_counts_once(at: int) -> None:
    @virtual
    async def check() -> None:
        async with scene() as s:
            kept = keep(s, at)
            reading = await ask(s.engine, on_interrupt="resume")
            assert reading.finished
            assert reading.text == "".join(WORDS)
            assert told(reading) == ([len("".join(WORDS[:at]))])
            first, second = kept.requests
            assert (first.method, second.method) == ("POST", "GET")
            assert second.target == "/v1/streams/kept-1?stream=true"
            assert after(second) == str(at)
            completion = await s.engine.complete("m", "hello", on_interrupt="resume")
            assert completion.usage is not None
            assert completion.usage.output_tokens == len(WORDS)
            assert not completion.usage.estimated
            assert kept.open == 0

    check()


@virtual
async def test_b4_only_the_end_may_be_missing() -> None:
    async with scene() as s:
        keep(s, len(WORDS))
        async with s.engine.stream("m", "hello", on_interrupt="resume") as stream:
            completion = await stream.completion()
        assert completion.text == "".join(WORDS)
        assert completion.usage is not None
        assert completion.usage.output_tokens == len(WORDS)


@virtual
async def test_b4_a_stream_may_break_again_and_again() -> None:
    async with scene() as s:
        kept = keep(s, 1, 3, 3, 4)
        reading = await ask(s.engine, on_interrupt="resume")
        assert reading.text == "".join(WORDS)
        # One attempt broke before it had anything new: no mark, and the cursor stands.
        assert told(reading) == [len("".join(WORDS[:n])) for n in (1, 3, 4)]
        assert [after(r) for r in kept.requests] == [None, "1", "3", "3", "4"]


@virtual
async def test_b4_before_the_first_event_the_request_is_made_again() -> None:
    async with scene() as s:
        kept = keep(s, 0)
        reading = await ask(s.engine, on_interrupt="resume")
        assert reading.text == "".join(WORDS)
        assert [r.method for r in kept.requests] == ["POST", "POST"]
        assert not told(reading)


@virtual
async def test_b4_a_stream_that_is_no_longer_kept_fails_with_what_broke_it() -> None:
    async with scene() as s:
        kept = keep(s, 3, statuses=(200, 400))
        reading = await ask(s.engine, on_interrupt="resume")
        assert isinstance(reading.error, ConnectionLostError)
        assert reading.error.partial is not None
        assert reading.error.partial.text == reading.text == "".join(WORDS[:3])
        assert [a.status for a in reading.error.attempts] == [200, 400]
        assert len(kept.requests) == 2


@virtual
async def test_b4_the_next_rung_follows_one_that_is_refused() -> None:
    async with scene() as s:
        kept = keep(s, 3, statuses=(200, 404))
        reading = await ask(s.engine, on_interrupt=["resume", "restart"])
        assert reading.finished
        marks = [type(e) for e in reading.events if isinstance(e, Restarted | Resumed)]
        assert marks == [Restarted]
        assert [r.method for r in kept.requests] == ["POST", "GET", "POST"]
        keys = [dict(r.headers)["idempotency-key"] for r in kept.requests]
        assert len(set(keys)) == 3


@virtual
async def test_b4_text_reads_through_the_mark() -> None:
    async with scene() as s:
        keep(s, 2)
        async with s.engine.stream("m", "hello", on_interrupt="resume") as stream:
            assert "".join([t async for t in stream.text()]) == "".join(WORDS)
            with pytest.raises(RequestError):
                s.engine.stream("m", "hello", on_interrupt="resumed")  # type: ignore[arg-type]


@virtual
async def test_b4_a_full_buffer_does_not_stop_the_rest() -> None:
    async with scene() as s:
        keep(s, 3)
        reading = await ask(s.engine, on_interrupt="resume", buffer_events=1)
        assert reading.text == "".join(WORDS)
