"""The SDKs that people use, over an engine: what they read, and what they raise."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import trio

import streamnursery as sn
from streamnursery import Secret, aio, sdk, sync
from streamnursery.simulator import Plan, Status
from streamnursery.testing.live import live_provider
from tests.support.cli import ROOT
from tests.support.peers import INSTALLED
from tests.support.recorded import Recorded, live
from tests.support.sdks import (
    HI,
    KEY,
    MODEL,
    SDKS,
    config,
    said_recordings,
)

openai = pytest.importorskip("openai", reason="installed by `make contract`")
anthropic = pytest.importorskip("anthropic", reason="installed by `make contract`")

pytestmark = [
    pytest.mark.contract,
    # The clients leave their own generators to the garbage collector, and warn of their own past.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
]


def is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # what it is part of
        return False


def asked_of(name: str, what: str, corpora: Path) -> Any:
    """What `tests.support.sdks` says of an SDK, in the interpreter that has it."""
    sdk_ = SDKS[name]
    python = INSTALLED / sdk_.peer / "bin" / "python" if sdk_.peer else Path(sys.executable)
    if not python.exists() or (not sdk_.peer and not is_installed(sdk_.module)):
        pytest.skip(f"{name} is not installed; `make contract` installs the peers that it can")
    command = [str(python), "-m", "tests.support.sdks", what, name, str(corpora)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", SDKS)
def test_it_reads_what_was_sent(corpora: Path, name: str) -> None:
    found = asked_of(name, "reads", corpora)
    assert len(found) == 3
    for one in found:
        assert one["text"] == one["plain"] != ""
        ours, theirs = one["sent"]
        # The SDK's own key as well, since the server is the one that the SDK names.
        assert ours == theirs
        assert any(KEY in key for key in ours["keys"])
        assert one["encoding"] == "identity"


@pytest.mark.parametrize("name", SDKS)
def test_a_cut_at_every_byte_before_the_end_mark_raises(corpora: Path, name: str) -> None:
    found = asked_of(name, "cuts", corpora)
    assert found["silent"] == []
    assert len(found["tried"]) == 3
    assert sum(found["raised"].values()) == sum(found["tried"]) > 300
    # Its own errors, those of the SDK below it, or those of the HTTP library: all documented.
    own = SDKS[name].module.partition(".")[0]
    assert {kind.partition(".")[0] for kind in found["raised"]} <= {own, "openai", "httpx2"}


@pytest.mark.parametrize("loop", ["asyncio", "trio", "trio over the bridge", "threads"])
def test_openai_streams_and_raises_in_every_world(loop: str) -> None:
    with live_provider() as provider:
        settings = provider.config()
        run: Callable[[], tuple[str, list[str]]] = {
            "asyncio": lambda: asyncio.run(in_aio(settings, provider.url)),
            "trio": lambda: trio.run(in_trio, settings, provider.url),
            "trio over the bridge": lambda: trio.run(in_aio, settings, provider.url),
            "threads": lambda: in_threads(settings, provider.url),
        }[loop]
        text, models = run()
        assert text
        assert "gpt-4.1" in models
        provider.plan = Plan.always(Status(429, 0.01))
        with pytest.raises(openai.RateLimitError):
            run()


async def asked_async(client: Any, url: str) -> tuple[str, list[str]]:
    async with openai.AsyncOpenAI(
        base_url=url, api_key=KEY, max_retries=0, http_client=client
    ) as api:
        stream = await api.chat.completions.create(model="gpt-4.1", messages=HI, stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in stream])
        return text, [model.id async for model in api.models.list()]


async def in_aio(settings: dict[str, Any], url: str) -> tuple[str, list[str]]:
    async with aio.open_engine(settings) as eng:
        return await asked_async(sdk.async_client(eng), url)


async def in_trio(settings: dict[str, Any], url: str) -> tuple[str, list[str]]:
    async with sn.open_engine(settings) as eng:
        return await asked_async(sdk.async_client(eng), url)


def in_threads(settings: dict[str, Any], url: str) -> tuple[str, list[str]]:
    with sync.open_engine(settings) as eng:
        with openai.OpenAI(
            base_url=url, api_key=KEY, max_retries=0, http_client=sdk.client(eng)
        ) as api:
            stream = api.chat.completions.create(model="gpt-4.1", messages=HI, stream=True)
            text = "".join([c.choices[0].delta.content or "" for c in stream])
            return text, [model.id for model in api.models.list()]


OWN = {
    "google-genai": "ClientError",
    "pydantic-ai": "ModelHTTPError",
    "instructor": "InstructorRetryException",
}
"""What a 429 is for those who have no name for it."""


@pytest.mark.parametrize("name", SDKS)
def test_a_spent_budget_raises_the_sdks_own_type(corpora: Path, name: str) -> None:
    *kinds, text = asked_of(name, "refused", corpora)
    assert OWN.get(name, "RateLimitError") in kinds
    assert "the daily budget" in text


def test_1000_calls_under_a_cap_of_20() -> None:
    async def main(url: str, settings: dict[str, Any]) -> None:
        async with aio.open_engine(settings) as eng:
            api = openai.AsyncOpenAI(
                base_url=url, api_key=KEY, max_retries=0, http_client=sdk.async_client(eng)
            )

            async def one() -> None:
                stream = await api.chat.completions.create(
                    model="gpt-4.1", messages=HI, stream=True, max_tokens=20
                )
                async for _ in stream:
                    pass

            await asyncio.gather(*(one() for _ in range(1000)))
            found = (await eng.statistics()).models["gpt-4.1"]
            assert (found.succeeded, found.peak_active) == (1000, 20)

    with live_provider() as provider:
        asyncio.run(main(provider.url, provider.config(engine={"max_streams": 20})))
        seen = provider.log
    assert len(seen) == 1000
    # By the provider's own clock; who ends and begins in one moment makes room first.
    steps = [(record.received_at, 1) for record in seen]
    steps += [(record.ended_at, -1) for record in seen if record.ended_at is not None]
    assert len(steps) == 2000
    assert max(accumulate(step for _, step in sorted(steps))) == 20


def test_500_cancels_leave_nothing() -> None:
    async def main(url: str, settings: dict[str, Any]) -> None:
        async with aio.open_engine(settings) as eng:
            api = openai.AsyncOpenAI(
                base_url=url, api_key=KEY, max_retries=0, http_client=sdk.async_client(eng)
            )

            reading = asyncio.Event()

            async def one(number: int) -> None:
                stream = await api.chat.completions.create(
                    model="gpt-4.1", messages=HI, stream=True
                )
                left = number % 7
                async with stream:
                    async for _ in stream:
                        reading.set()
                        left -= 1
                        if left <= 0:
                            tasks[number].cancel()

            tasks = [asyncio.create_task(one(number)) for number in range(500)]
            await reading.wait()
            for task in tasks[::3]:  # wherever they are
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended)
            left = await eng.statistics()
            assert (left.streams, left.buffered_bytes) == (0, 0)
            assert left.models["gpt-4.1"].active == 0

    with live_provider(factor=1.0) as provider:
        asyncio.run(main(provider.url, provider.config()))
        assert provider.in_progress == 0


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_refusals_of_the_engine_raise_the_sdks_own_types(name: str) -> None:
    module = {"openai": openai, "anthropic": anthropic}[name]
    settings = config("http://127.0.0.1:9", SDKS[name].language)
    settings["models"][MODEL]["price"] = {"input": "1", "output": "1"}
    settings["budgets"] = {"daily": "0.000000001 USD"}
    with pytest.raises(module.RateLimitError) as caught:
        SDKS[name].over(settings, "http://127.0.0.1:9/v1")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert "budget" in str(caught.value)


def test_a_server_that_nobody_knows_is_passed_through_with_the_sdks_key() -> None:
    recorded = Recorded([said_recordings()[1]], at_once=True)
    with live(recorded) as origin:
        text = SDKS["openai"].over(config("http://127.0.0.1:9", "openai_chat"), f"{origin}/v1")
    assert json.loads(text) == {"text": "two words"}
    assert recorded.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert b"stream_options" not in recorded.asked[0].body


def test_headers_for_the_engine_are_taken_and_stripped() -> None:
    recorded = Recorded([said_recordings()[0]], at_once=True)
    seen: list[Any] = []

    async def main(origin: str) -> None:
        async with aio.open_engine(config(origin, "openai_chat"), observers=[seen.append]) as eng:
            api = openai.AsyncOpenAI(
                base_url=f"{origin}/v1", api_key=KEY, http_client=sdk.async_client(eng)
            )
            given = {
                "x-streamnursery-tenant": "ada",
                "x-streamnursery-priority": "batch",
                "x-streamnursery-deadline": "30",
            }
            await api.with_options(max_retries=0).chat.completions.create(
                model=MODEL, messages=HI, extra_headers=given
            )
            report = await eng.usage_report()
            assert [line.tenant for line in report.lines] == ["ada"]

    with live(recorded) as origin:
        asyncio.run(main(origin))
    assert not [name for name in recorded.asked[0].headers if "streamnursery" in name]


@contextmanager
def two_servers(first: Recorded, second: Recorded) -> Iterator[Sequence[str]]:
    with live(first) as one, live(second) as other:
        yield one, other


def test_on_another_endpoint_the_engines_own_key_is_sent() -> None:
    first, second = Recorded([], refuses=99), Recorded([said_recordings()[0]], at_once=True)
    with two_servers(first, second) as (one, other):
        settings = config(one, "openai_chat")
        settings["endpoints"]["other"] = {"url": f"{other}/v1", "key": Secret("sk-other")}
        settings["models"][MODEL]["routes"].append({"endpoint": "other"})
        SDKS["openai"].over(settings, f"{one}/v1")
    assert first.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert second.asked[0].headers["authorization"] == "Bearer sk-other"
