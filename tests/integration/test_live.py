"""The simulated provider beside programs that cannot run in a world."""

import asyncio
import threading

import pytest

import streamnursery.aio as an
import streamnursery.sync as sn
from streamnursery.simulator import Cut, Plan, Profile, Reset, Stall, Status
from streamnursery.testing.live import LiveProvider, live_provider
from tests.support.bridged import run


def test_a_program_in_threads_is_served_and_seen() -> None:
    with live_provider() as provider, sn.open_engine(provider.config()) as eng:
        texts = [eng.complete("gpt-4.1", f"Question {n}").text for n in range(3)]
        assert texts == [record.intended() for record in provider.log]
        assert provider.in_progress == 0


def test_a_program_on_asyncio_is_served_and_a_cancel_is_seen_upstream() -> None:
    with live_provider(Plan.always(Stall(2))) as provider:

        async def main() -> None:
            async with an.open_engine(provider.config()) as eng:
                async with eng.stream("gpt-4.1", "Hi") as stream:
                    await anext(stream)
                    assert provider.in_progress == 1
                while provider.in_progress:
                    pass
                assert provider.log[-1].aborted

        run(main)


def test_its_plan_can_be_replaced_while_it_runs() -> None:
    with live_provider() as provider, sn.open_engine(provider.config()) as eng:
        assert eng.complete("fast", "Hi").text
        provider.plan = Plan.always(Status(400))
        with pytest.raises(sn.ProviderError):
            eng.complete("fast", "Hi")
        assert provider.plan == Plan.always(Status(400))
        assert [record.status for record in provider.log] == [200, 400]


def test_an_hour_of_the_provider_passes_in_no_time() -> None:
    slow = {"m": Profile(ttft_mean=1800.0, ttft_p95=1800.0, output_tokens=(3, 3))}
    with live_provider(models=slow, factor=100_000) as provider:
        with sn.open_engine(provider.config()) as eng:
            assert len(eng.complete("m", "Hi").text.split()) == 3
            record = provider.log[-1]
    assert record.ended_at is not None
    assert record.first_token_at is not None
    assert record.first_token_at - record.received_at >= 1800


def test_the_fixture_is_found_by_the_usual_configuration(live_provider: LiveProvider) -> None:
    with sn.open_engine() as eng:
        assert eng.complete("gpt-4.1", "Hi").text == live_provider.log[-1].intended()


def test_nothing_of_it_is_left() -> None:
    with live_provider() as provider:
        pass
    provider.stop()
    assert provider.log == ()
    assert "live provider" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(ValueError, match="factor"):
        with live_provider(factor=0):
            pass


def test_a_question_of_a_loop_does_not_end_the_provider() -> None:
    with live_provider() as provider:

        async def main() -> None:
            with pytest.raises(ZeroDivisionError):
                provider._ask(lambda: 1 // 0)
            assert await asyncio.to_thread(lambda: provider.log) == ()

        run(main)


def engine_client(url: str, prompt: str) -> str:
    config = {"endpoints": {"it": {"url": url, "key": sn.Secret("sk-live")}}}
    with sn.open_engine(config) as eng:
        return eng.complete("fast", prompt).text


async def asyncio_client(url: str, prompt: str) -> str:
    config = {"endpoints": {"it": {"url": url, "key": sn.Secret("sk-live")}}}
    async with an.open_engine(config) as eng:
        return (await eng.complete("fast", prompt)).text


def keeps_a_part(url: str, prompt: str) -> str:
    try:
        return engine_client(url, prompt)
    except sn.EngineError as error:
        return error.partial.text if error.partial else ""


@pytest.mark.parametrize("plan", [Plan(), Plan.always(Cut(3, how="end")), Plan.always(Reset(3))])
def test_a_client_on_threads_or_asyncio_is_confronted(plan: Plan) -> None:
    with live_provider(plan) as provider:
        provider.confront(engine_client)
        provider.confront(lambda url, prompt: asyncio.run(asyncio_client(url, prompt)))


def test_a_client_that_calls_a_part_the_whole_is_found_on_a_socket() -> None:
    with live_provider(Plan.always(Cut(3, how="end"))) as provider:
        with pytest.raises(AssertionError, match="a part of an answer, said to be the whole"):
            provider.confront(keeps_a_part)


def test_a_client_that_does_not_end_is_found_on_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamnursery.testing.live.CLIENT_WITHIN", 0.0)
    left = threading.Event()

    def waits(url: str, prompt: str) -> str:
        left.wait()
        return f"{url} {prompt}"

    with live_provider() as provider:
        with pytest.raises(AssertionError, match="neither an answer nor an error after 0 s"):
            provider.confront(waits)
    left.set()


def test_a_client_without_the_key_is_found_and_not_taken_for_one_that_fails_well() -> None:
    def without_a_key(url: str, prompt: str) -> str:
        config = {"endpoints": {"it": {"url": url, "key": sn.Secret("another")}}}
        with sn.open_engine(config) as eng:
            return eng.complete("fast", prompt).text

    with live_provider() as provider, pytest.raises(AssertionError, match="its key was wrong"):
        provider.confront(without_a_key)


def test_a_text_without_a_request_is_found() -> None:
    with live_provider() as provider, pytest.raises(AssertionError, match="asked nothing"):
        provider.confront(lambda url, prompt: url + prompt)
