"""Spans of requests: one tree each, whatever became of the request."""

import json
import logging
from typing import Any

import pytest
import trio

from streamnursery import EngineError, JsonFormatter, Secret, log_observer, telemetry
from streamnursery.simulator import Cut, Delay, Plan, Status
from streamnursery.telemetry.backlog import MOST
from streamnursery.testing import World
from streamnursery.values.errors import RequestError
from tests.support.scene import AT_ONCE, always, ask, once, scene, virtual
from tests.support.traces import Traces, attributes

PRICED = {"price": {"input": "2 USD", "output": "8 USD"}}


@virtual
async def test_a_whole_answer_is_a_span_with_one_attempt() -> None:
    traces = Traces()
    async with scene() as s:
        traces.watch(s.engine)
        await ask(s.engine, max_tokens=50, temperature=0.5)
    assert traces.tree() == "chat m complete 1.9s\n  attempt main/m first done 1.9s"
    (span,) = traces.requests()
    found = attributes(span)
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.system"] == "main"
    assert found["server.address"] == "main.example.com"
    assert found["gen_ai.request.max_tokens"] == 50
    assert found["gen_ai.request.temperature"] == 0.5
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert found["gen_ai.usage.output_tokens"] == 10
    assert found["gen_ai.response.time_to_first_chunk"] == pytest.approx(1.0, abs=0.01)
    assert span.start_time == 1_700_000_000 * 10**9


@virtual
async def test_a_retry_is_a_second_attempt() -> None:
    traces = Traces()
    async with scene(once(Status(503)), profile=AT_ONCE) as s:
        traces.watch(s.engine)
        await ask(s.engine)
    assert traces.tree() == (
        "chat m complete 0.8s (retry)\n"
        "  attempt main/m first maybe_sent server_error 0.0s\n"
        "  attempt main/m retry done 0.0s"
    )


@virtual
async def test_a_hedge_is_an_attempt_beside_the_first() -> None:
    traces = Traces()
    async with scene(once(Delay(first_token=10.0))) as s:
        traces.watch(s.engine)
        await ask(s.engine, hedge_after=2.0)
    assert traces.tree() == (
        "chat m complete 3.9s (hedged)\n"
        "  attempt main/m first maybe_sent 3.0s\n"
        "  attempt main/m hedge done 1.9s"
    )


@virtual
async def test_a_fallback_is_an_attempt_at_another_route() -> None:
    traces = Traces()
    async with scene(always(Status(404)), backups={"spare": Plan()}, profile=AT_ONCE) as s:
        traces.watch(s.engine)
        await ask(s.engine)
    assert traces.tree() == (
        "chat m complete 0.0s (rerouted)\n"
        "  attempt main/m first maybe_sent model_error 0.0s\n"
        "  attempt spare/m fallback done 0.0s"
    )


@pytest.mark.parametrize("how", ["restart", "continue"])
@virtual
async def test_a_recovered_stream_says_how_it_went_on(how: Any) -> None:
    traces = Traces()
    async with scene(once(Cut(4)), model={"assistant_prefix": "message"}) as s:
        traces.watch(s.engine)
        await ask(s.engine, on_interrupt=how)
    tree = traces.tree().splitlines()
    assert tree[1].startswith("  attempt main/m first committed network_error")
    assert tree[2].startswith(f"  attempt main/m {how} done")
    assert "interrupted" in tree[0]


@virtual
async def test_a_cancelled_request_ends_after_its_attempt() -> None:
    traces = Traces()
    async with scene() as s:
        traces.watch(s.engine)
        async with s.engine.stream("m", "hello") as stream:
            await anext(aiter(stream))
    assert traces.tree() == ("chat m cancelled 1.0s\n  attempt main/m first committed 1.0s")
    (span,) = traces.requests()
    assert "error.type" not in attributes(span)


@virtual
async def test_a_request_that_a_budget_refused_has_no_attempt() -> None:
    traces = Traces()
    async with scene(model=PRICED, budgets={"daily": "0.0001 USD"}) as s:
        traces.watch(s.engine)
        await ask(s.engine, max_tokens=100)
    tree = traces.tree().splitlines()
    assert len(tree) == 1
    assert tree[0].startswith("chat m failed admission_error")
    assert "budget alert" in tree[0]
    assert "not admitted" in tree[0]


def test_the_turns_of_a_session_are_requests() -> None:
    traces = Traces()

    async def main(world: World) -> None:
        async with world.open_engine() as eng:
            traces.watch(eng, in_thread=False)
            async with eng.session("sim") as session:
                for _ in range(2):
                    async with session.stream("gpt-4.1", "hello") as stream:
                        await stream.completion()

    world = World(5)
    world.add_provider("sim")
    world.run(main)
    tree = [line.rpartition(" ")[0] for line in traces.tree().splitlines()]
    turn = ["chat gpt-4.1 complete", "  attempt sim/gpt-4.1 first done"]
    assert tree == turn * 2


@virtual
async def test_the_parent_is_the_callers_span_at_stream() -> None:
    traces = Traces()
    tracer = traces.tracer_provider.get_tracer("test")
    async with scene() as s:
        traces.watch(s.engine)

        async def job(name: str) -> None:
            with tracer.start_as_current_span(name):
                await s.engine.complete("m", "hello")

        async with trio.open_nursery() as nursery:
            for name in ("one", "two"):
                nursery.start_soon(job, name)
    lines = [line.split()[0] for line in traces.tree().splitlines()]
    one, two = ["one", "chat", "attempt"], ["two", "chat", "attempt"]
    assert lines in (one + two, two + one)


@virtual
async def test_traceparent_goes_to_endpoints_that_propagate_and_to_no_other() -> None:
    traces = Traces()
    endpoints = {
        "main": {"url": "http://main.example.com/v1"},
        "spare": {"url": "http://spare.example.com/v1", "propagate": True},
    }
    plans = {"spare": Plan()}
    failing = always(Status(404))
    async with scene(failing, backups=plans, endpoints=endpoints, profile=AT_ONCE) as s:
        traces.watch(s.engine)
        await ask(s.engine)
        (first,), (second,) = s.provider.log, s.providers["spare"].log
    assert "traceparent" not in first.headers
    version, trace, parent, _ = second.headers["traceparent"].split("-")
    spans = {f"{span.context.span_id:016x}": span for span in traces.finished()}
    assert version == "00"
    assert spans[parent].name == "attempt spare/m"
    assert f"{spans[parent].context.trace_id:032x}" == trace
    assert traces.tree().count("\n") == 2


@virtual
async def test_without_otel_nothing_is_propagated() -> None:
    endpoints = {"main": {"url": "http://main.example.com/v1", "propagate": True}}
    async with scene(endpoints=endpoints, profile=AT_ONCE) as s:
        await ask(s.engine)
        assert "traceparent" not in s.provider.log[0].headers


PROMPT, ANSWER, KEY = "canary-prompt-5571", "canary-answer-5571", "sk-canary-key-5571"


@pytest.mark.parametrize("content", [False, True])
def test_prompts_answers_and_keys_leave_only_when_asked(
    content: bool, caplog: pytest.LogCaptureFixture
) -> None:
    traces = Traces()
    scraped: list[str] = []

    @virtual
    async def main() -> None:
        endpoints = {"main": {"url": "http://main.example.com/v1", "key": Secret(KEY)}}
        plan = Plan(once(Status(400)).rules)
        async with scene(plan, endpoints=endpoints, observers=[log_observer()]) as s:
            traces.watch(s.engine, content=content, openinference=True)
            for _ in range(2):
                await ask_with(s.engine, f"{PROMPT} and {KEY}")
            scraped.append(telemetry.prometheus_text(s.engine))

    caplog.set_level(logging.DEBUG)
    main()
    exported = "\n".join(span.to_json() for span in traces.finished())
    logged = "\n".join(JsonFormatter().format(record) for record in caplog.records)
    assert KEY not in exported + logged + scraped[0]
    assert PROMPT not in logged + scraped[0]
    assert (PROMPT in exported) is content
    if content:
        failed, answered = traces.requests()
        assert "***" in attributes(answered)["gen_ai.input.messages"]
        assert json.loads(attributes(answered)["gen_ai.output.messages"])[0]["parts"][0]["content"]
        assert attributes(failed)["gen_ai.output.messages"] == "[]"


async def ask_with(engine: Any, prompt: str) -> None:
    async with engine.stream("m", prompt) as stream:
        try:
            await stream.completion()
        except EngineError:
            return


@virtual
async def test_content_is_bounded() -> None:
    traces = Traces()
    async with scene(profile=AT_ONCE) as s:
        traces.watch(s.engine, content=True, max_content=100)
        messages = [{"role": "user", "content": f"{n} " + "x" * 60} for n in range(5)]
        async with s.engine.stream("m", messages) as stream:
            await stream.completion()
    (span,) = traces.requests()
    shown = json.loads(attributes(span)["gen_ai.input.messages"])
    texts = [part["content"] for message in shown for part in message["parts"]]
    assert len(texts) == 2  # the latest messages have the room
    assert texts[1].startswith("4 ")
    assert texts[0].endswith("[cut]")
    assert sum(map(len, texts)) < 120


@pytest.mark.parametrize("most", [0, True, "8"])
def test_a_bound_that_is_none_is_refused(most: Any) -> None:
    with pytest.raises(RequestError, match="max_content must be a whole number"):
        telemetry.otel(object(), max_content=most)  # type: ignore[arg-type]


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(RequestError, match="open_engine"):
        telemetry.otel(object())  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="open_engine"):
        telemetry.prometheus_text("engine")  # type: ignore[arg-type]


@virtual
async def test_after_close_nothing_more_is_reported() -> None:
    traces = Traces()
    async with scene(profile=AT_ONCE) as s:
        otel = traces.watch(s.engine)
        await ask(s.engine)
        otel.close()
        await ask(s.engine)
    assert len(traces.requests()) == 1


@virtual
async def test_a_request_that_began_before_is_not_reported() -> None:
    traces = Traces()
    async with scene() as s:
        async with s.engine.stream("m", "hello") as stream:
            traces.watch(s.engine)
            await stream.completion()
    assert traces.finished() == ()


def test_an_exporter_that_stands_still_costs_no_stream_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing in this test waits for the exporter but the assertion on what it has been given."""
    import threading

    stands, arrived = threading.Event(), threading.Event()

    class Standing:
        def on_start(self, span: Any, parent_context: Any = None) -> None: ...
        def on_end(self, span: Any) -> None:
            arrived.set()
            stands.wait()

        def _on_ending(self, span: Any) -> None: ...
        def shutdown(self) -> None: ...
        def force_flush(self, timeout_millis: int = 0) -> bool:
            return True

    traces = Traces()
    traces.tracer_provider.add_span_processor(Standing())  # type: ignore[arg-type]
    took: list[float] = []

    @virtual
    async def main() -> None:
        async with scene(profile=AT_ONCE) as s:
            otel = traces.watch(s.engine)
            await ask(s.engine)
            assert arrived.wait(30)
            waiting = otel._backlog._items
            trail = waiting  # the queue is filled as 10,000 requests would
            while len(trail) < MOST:
                trail.append(None)  # type: ignore[arg-type]
            began = trio.current_time()
            for _ in range(5):
                await ask(s.engine)
            took.append(trio.current_time() - began)
            assert otel.dropped == 5
            waiting.clear()
            stands.set()

    main()
    assert took == [pytest.approx(0.0, abs=0.01)]
    dropped = [r for r in caplog.records if "telemetry is dropped" in r.getMessage()]
    assert len(dropped) == 1


def test_an_exporter_that_raises_costs_no_stream_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Raising:
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise RuntimeError("the exporter is down")

        def on_end(self, span: Any) -> None: ...
        def _on_ending(self, span: Any) -> None: ...
        def shutdown(self) -> None: ...
        def force_flush(self, timeout_millis: int = 0) -> bool:
            return True

    traces = Traces()
    traces.tracer_provider.add_span_processor(Raising())  # type: ignore[arg-type]

    @virtual
    async def main() -> None:
        async with scene(profile=AT_ONCE) as s:
            otel = traces.watch(s.engine)
            for _ in range(3):
                reading = await ask(s.engine)
                assert reading.finished
            otel.flush(30)
            assert otel.dropped == 3

    main()
    said = [r for r in caplog.records if "could not be made" in r.getMessage()]
    assert len(said) == 1
