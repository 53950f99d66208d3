"""The HTTP clients that SDKs are given, on real sockets: in every world, with every library."""

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
import trio

import streamnursery as sn
from streamnursery import Secret, aio, sdk, sync
from streamnursery.serving.steps import How
from streamnursery.simulator import Plan, Status
from streamnursery.testing.live import LiveProvider, live_provider
from tests.support.recorded import Recorded, live
from tests.support.relays import TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
LIBRARIES: tuple[Any, ...] = (httpx, httpx2)


def settings(origin: str) -> dict[str, Any]:
    own = {"routes": [{"endpoint": "main"}], "retries": {"attempts": 1}}
    main = {"url": f"{origin}/v1", "key": Secret("sk-engine")}
    return {"endpoints": {"main": main}, "models": {"m": own}}


@pytest.mark.parametrize("loop", ["asyncio", "trio", "trio over the bridge", "threads"])
def test_every_world_has_its_client(loop: str) -> None:
    with live_provider() as provider:
        run: Callable[[], Any] = {
            "asyncio": lambda: asyncio.run(in_aio(provider)),
            "trio": lambda: trio.run(in_trio, provider),
            "trio over the bridge": lambda: trio.run(in_aio, provider),
            "threads": lambda: in_threads(provider),
        }[loop]
        answer = run()
        assert answer.status_code == 200
        assert answer.text.endswith("data: [DONE]\n\n")
        provider.plan = Plan.always(Status(429, 0.01))
        refused = run()
        assert (refused.status_code, refused.headers["x-should-retry"]) == (429, "false")


ONCE: dict[str, Any] = {"defaults": {"retries": {"attempts": 1}}}
LIVE: dict[str, Any] = {
    "json": {**BODY, "model": "gpt-4.1"},
    "headers": {"authorization": "Bearer sk-live"},
}


async def in_aio(provider: LiveProvider) -> Any:
    async with aio.open_engine(provider.config(**ONCE)) as eng:
        async with sdk.async_client(eng) as client:
            return await client.post(f"{provider.url}/chat/completions", **LIVE)


async def in_trio(provider: LiveProvider) -> Any:
    async with sn.open_engine(provider.config(**ONCE)) as eng:
        async with sdk.async_client(eng) as client:
            return await client.post(f"{provider.url}/chat/completions", **LIVE)


def in_threads(provider: LiveProvider) -> Any:
    with sync.open_engine(provider.config(**ONCE)) as eng, sdk.client(eng) as client:
        with client.stream("POST", f"{provider.url}/chat/completions", **LIVE) as left:
            assert left.status_code in {200, 429}
        return client.post(f"{provider.url}/chat/completions", **LIVE)


def test_a_cut_stream_raises_in_a_thread() -> None:
    for library in LIBRARIES:
        recorded = Recorded([TEXT], How.CUT)
        with live(recorded) as origin, sync.open_engine(settings(origin)) as eng:
            with sdk.client(eng, library=library.__name__) as client:
                with pytest.raises((library.RemoteProtocolError, library.ReadError)):
                    client.post(f"{origin}/v1/chat/completions", json=BODY)


def test_without_an_engine_it_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with live_provider() as provider:
        for name, value in provider.environment.items():
            monkeypatch.setenv(name, value)

        async def main() -> Any:
            async with sdk.async_client() as client:
                return await client.post(f"{provider.url}/chat/completions", **LIVE)

        assert asyncio.run(main()).status_code == 200
        with sdk.client() as client:
            assert client.post(f"{provider.url}/chat/completions", **LIVE).status_code == 200


def test_an_answer_that_is_dropped_is_left() -> None:
    with live_provider(factor=1.0) as provider:
        asyncio.run(dropped_in_aio(provider))
        dropped_in_a_thread(provider)
        assert provider.in_progress == 0


async def dropped_in_aio(provider: LiveProvider) -> None:
    async with aio.open_engine(provider.config()) as eng:
        client = sdk.async_client(eng)
        asked = client.build_request("POST", f"{provider.url}/chat/completions", **LIVE)
        answer = await client.send(asked, stream=True)
        assert answer.status_code == 200
        del answer, asked
        gc.collect()
        while (await eng.statistics()).models["gpt-4.1"].active:
            pass
        await client.aclose()


def dropped_in_a_thread(provider: LiveProvider) -> None:
    with sync.open_engine(provider.config()) as eng, sdk.client(eng) as client:
        asked = client.build_request("POST", f"{provider.url}/chat/completions", **LIVE)
        answer = client.send(asked, stream=True)
        assert answer.status_code == 200
        del answer, asked
        gc.collect()
        while eng.statistics().models["gpt-4.1"].active:
            pass
