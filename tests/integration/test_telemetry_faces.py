"""Telemetry of engines for asyncio and threads, and the server for scrapes on a real socket."""

import asyncio
import contextvars
import urllib.error
import urllib.request
from functools import partial
from typing import Any

import pytest
import trio
from opentelemetry import trace

from streamnursery import ConfigError, EngineClosedError, aio, open_engine, sync, telemetry
from streamnursery.telemetry import MetricsServer, serve_metrics
from streamnursery.values.errors import RequestError
from tests.support.bridged import aio_scene, run, sync_scene
from tests.support.scene import AT_ONCE
from tests.support.traces import Traces

TREE = ["job", "chat m complete", "  attempt main/m first done"]


def fetch(server: MetricsServer, path: str = "/metrics", **headers: str) -> tuple[int, str, Any]:
    url = f"http://{server.host}:{server.port}{path}"
    method = headers.pop("method", "GET")
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def shape(traces: Traces) -> list[str]:
    return [line.rpartition(" ")[0].removeprefix("  ") for line in traces.tree().splitlines()]


def test_asyncio_spans_have_the_callers_span_as_parent() -> None:
    traces = Traces()

    async def main() -> None:
        async with aio_scene(profile=AT_ONCE) as (eng, _):
            traces.watch(eng)
            with traces.tracer_provider.get_tracer("test").start_as_current_span("job"):
                await eng.complete("m", "hello")
            assert "streamnursery_requests_started_total" in telemetry.prometheus_text(eng)

    run(main)
    assert shape(traces)[1:] == TREE[1:]
    assert traces.tree().startswith("job")


def test_spans_of_a_thread_have_the_callers_span_as_parent() -> None:
    traces = Traces()
    with sync_scene(profile=AT_ONCE) as (eng, _):
        traces.watch(eng)
        with traces.tracer_provider.get_tracer("test").start_as_current_span("job"):
            eng.complete("m", "hello")
        assert "streamnursery_requests_started_total" in telemetry.prometheus_text(eng)
    assert shape(traces)[1:] == TREE[1:]


def test_observers_of_a_loop_hear_the_start_in_the_callers_context() -> None:
    heard: list[str | None] = []

    def observe(record: object) -> None:
        if type(record).__name__ == "StreamStarted":
            heard.append(telemetry.current_trace_id())

    async def main() -> None:
        tracer = Traces().tracer_provider.get_tracer("test")
        config: dict[str, Any] = {"endpoints": {}}
        async with aio.open_engine(config, observers=[observe]) as eng:
            await eng.complete("sim/fast", "hello")
            with tracer.start_as_current_span("job") as span:
                await eng.complete("sim/fast", "hello")
            wanted = f"{span.get_span_context().trace_id:032x}"
        assert heard == [None, wanted]

    asyncio.run(main())


def test_a_trace_id_is_that_of_the_current_span() -> None:
    assert telemetry.current_trace_id() is None
    span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 1, is_remote=False))
    context = contextvars.copy_context()

    def inside() -> str | None:
        with trace.use_span(span):
            return telemetry.current_trace_id()

    assert context.run(inside) == f"{0xABC:032x}"


async def asked_of(server: MetricsServer, *args: Any, **headers: str) -> tuple[int, str, Any]:
    return await trio.to_thread.run_sync(partial(fetch, server, *args, **headers))


def test_the_server_answers_scrapes_and_nothing_else() -> None:
    async def main() -> None:
        async with open_engine({"endpoints": {}}) as eng:
            async with serve_metrics(eng, port=0) as server:
                assert server.url == f"http://127.0.0.1:{server.port}/metrics"
                await eng.complete("sim/fast", "hello")
                status, text, headers = await asked_of(server)
                assert status == 200
                assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
                assert 'requests_started_total{model="sim/fast"} 1\n' in text
                assert (await asked_of(server, "/metrics?x=1"))[0] == 200
                assert (await asked_of(server, "/"))[0] == 404
                assert (await asked_of(server, method="DELETE"))[0] == 405
                assert (await asked_of(server, method="HEAD"))[:2] == (200, "")
                assert (await asked_of(server, Host="evil.example"))[0] == 403
                assert (await asked_of(server, Host="localhost:1"))[0] == 200
                assert (await asked_of(server, Host="[::1]"))[0] == 200
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream("127.0.0.1", server.port)

    trio.run(main)


def test_a_fault_in_a_figure_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with open_engine({"endpoints": {}}) as eng:
            async with serve_metrics(eng, port=0) as server:
                eng._catalogue.meters["m"] = None  # type: ignore[assignment]
                status, text, _ = await asked_of(server)
                assert (status, text) == (500, "The metrics could not be made; see the log.\n")
                del eng._catalogue.meters["m"]
                assert (await asked_of(server))[0] == 200

    trio.run(main)
    assert "could not be made" in caplog.text


def test_an_address_that_is_taken_is_a_config_error() -> None:
    async def main() -> None:
        async with open_engine({"endpoints": {}}) as eng:
            async with serve_metrics(eng, port=0) as server:
                with pytest.raises(ConfigError, match="name another host or port"):
                    async with serve_metrics(eng, port=server.port):
                        pass
            with pytest.raises(ConfigError, match=r"cannot be served at 203\.0\.113\.1"):
                async with serve_metrics(eng, host="203.0.113.1", port=0):
                    pass
            for port in (70_000, -1, True, "9464"):
                with pytest.raises(RequestError, match="whole number from 0 to 65535"):
                    serve_metrics(eng, port=port)  # type: ignore[arg-type]

    trio.run(main)


def test_the_block_is_of_the_engines_kind() -> None:
    async def main() -> None:
        async with open_engine({"endpoints": {}}) as eng:
            with pytest.raises(RequestError, match="async with serve_metrics"):
                with serve_metrics(eng, port=0):
                    pass
            block = serve_metrics(eng, port=0)
            async with block:
                pass
            with pytest.raises(RequestError, match="entered once"):
                async with block:
                    pass

    trio.run(main)
    with sync.open_engine({"endpoints": {}}) as hosted:

        async def wrong() -> None:
            async with serve_metrics(hosted, port=0):
                pass

        with pytest.raises(RequestError, match="by `with serve_metrics"):
            asyncio.run(wrong())


def test_metrics_of_a_threads_engine_are_served() -> None:
    with sync.open_engine({"endpoints": {}}) as eng:
        eng.complete("sim/fast", "hello")
        with serve_metrics(eng, port=0) as server:
            status, text, _ = fetch(server)
            assert status == 200
            assert 'requests_started_total{model="sim/fast"} 1\n' in text


def test_metrics_of_a_loops_engine_are_served() -> None:
    async def main() -> None:
        async with aio.open_engine({"endpoints": {}}) as eng:
            await eng.complete("sim/fast", "hello")
            async with serve_metrics(eng, port=0) as server:
                status, text, _ = await asyncio.to_thread(fetch, server)
                assert status == 200
                assert 'requests_started_total{model="sim/fast"} 1\n' in text

    asyncio.run(main())


def test_an_engine_that_ended_says_so() -> None:
    with sync.open_engine({"endpoints": {}}) as eng:
        pass
    for function in (telemetry.otel, telemetry.prometheus_text):
        with pytest.raises(EngineClosedError):
            function(eng)


def test_a_server_that_outlives_its_engine_is_left_quietly() -> None:
    with sync.open_engine({"endpoints": {}}) as eng:
        block = serve_metrics(eng, port=0)
        block.__enter__()
    block.__exit__(None, None, None)
