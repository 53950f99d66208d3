"""A batch by way of Anthropic's Message Batches: none is made twice, no paid answer is lost."""

import itertools
import json
import random
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import attrs
import pytest
import trio

import streamnursery as sn
from streamnursery import batch
from streamnursery.batch import ProviderBatches
from streamnursery.simulator import CallTool, Cut, Plan, Provider, Rule, Stall, Status, When
from streamnursery.simulator.batches import MOST_LINES
from streamnursery.testing import World
from streamnursery.testing.sim_files import Crashed, SimFiles

OUT, ERRORS = "/out.jsonl", "/out.errors.jsonl"
BATCHES, MESSAGES = "/v1/messages/batches", "/v1/messages"
FEW = ProviderBatches(lines=4)


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"custom_id": f"r{n}", "model": "claude/fast", "prompt": f"Fact {n}", "max_tokens": 3}
        | more
        for n in range(count)
    ]


def lines(files: SimFiles, path: str = OUT) -> dict[str, dict[str, Any]]:
    read = [json.loads(line) for line in files.contents(path).splitlines()]
    assert len({line["custom_id"] for line in read}) == len(read)
    return {line["custom_id"]: line for line in read}


@attrs.define
class Place:
    """A world's engine, a provider that speaks Anthropic's language, and files."""

    world: World
    provider: Provider
    files: SimFiles

    async def go(self, source: Any, **options: Any) -> batch.BatchProgress:
        async with self.world.open_engine() as eng:
            return await batch.run(
                eng, source, out=OUT, files=self.files, **{"via": FEW, **options}
            )

    async def goes_on(self, source: Any) -> None:
        progress = await self.go(source)
        while not progress.complete:
            progress = await self.go(source)

    def asked(self, path: str) -> int:
        log = self.provider.log
        return sum(record.path == path and record.method == "POST" for record in log)

    async def ask(self, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        """As another client of the account's."""
        version = {"anthropic-version": "2023-06-01", "content-type": "application/json"}
        async with self.world.open_engine() as eng:
            relay = eng.relay(None, path, body, method=method, headers=version, endpoint="claude")
            async with relay as answer:
                found: dict[str, Any] = json.loads(await answer.read())
                return found

    async def make(self, count: int) -> str:
        """Another client's batch."""
        params = {"model": "fast", "max_tokens": 3, "messages": [{"role": "user", "content": "x"}]}
        requests = [{"custom_id": f"theirs-{n}", "params": params} for n in range(count)]
        told = await self.ask(
            "POST", "/messages/batches", json.dumps({"requests": requests}).encode()
        )
        return str(told["id"])


def in_world(
    plan: Plan | None = None, seed: int = 1
) -> Callable[[Callable[[Place], Awaitable[None]]], Callable[[], None]]:
    def decorate(test: Callable[[Place], Awaitable[None]]) -> Callable[[], None]:
        @wraps(test)
        def run() -> None:
            async def main(world: World) -> None:
                await test(Place(world, provider, SimFiles(dice=random.Random(seed))))

            world = World(seed)
            provider = world.add_provider("claude", plan=plan, dialect="anthropic-messages")
            world.run(main)

        del run.__wrapped__  # pytest would ask for its arguments
        return run

    return decorate


@in_world()
async def test_rows_come_back_in_openais_format(place: Place) -> None:
    odd = "ein Ä mit / und Leerzeichen " * 10
    params = {"max_tokens": 3, "messages": [{"role": "user", "content": "Hi"}], "top_k": 5}
    response = {"model": "claude/fast", "input": "Hi", "max_output_tokens": 3}
    source = [
        *rows(7),
        {"custom_id": odd, "params": {**params, "model": "claude/fast"}},
        {"custom_id": "r", "method": "POST", "url": "/v1/responses", "body": response},
    ]
    progress = await place.go(source)
    assert progress.error is None
    assert (progress.answered, progress.failed, progress.in_flight) == (9, 0, 0)
    found = lines(place.files)
    assert set(found) == {row["custom_id"] for row in source}
    line = found["r3"]
    assert line["response"]["status_code"] == 200
    assert line["response"]["body"]["object"] == "chat.completion"
    assert line["response"]["body"]["choices"][0]["message"]["content"]
    assert line["response"]["body"]["usage"]["completion_tokens"] == 3
    assert line["streamnursery"]["batch"].startswith("msgbatch_")
    assert line["streamnursery"]["route"] == "claude/fast"
    assert found[odd]["response"]["body"]["choices"][0]["finish_reason"]
    assert found["r"]["response"]["body"]["object"] == "response"
    assert progress.output_tokens == 27
    assert place.asked(BATCHES) == 3  # 4 and 4 rows, and the response
    assert place.asked(MESSAGES) == 9


@in_world()
async def test_answers_are_those_of_a_run_that_streams(place: Place) -> None:
    await place.go(rows(5))
    through_batches = lines(place.files)
    place.files = SimFiles(dice=random.Random(2))
    await place.go(rows(5), via=None)
    for name, line in lines(place.files).items():
        body, other = line["response"]["body"], through_batches[name]["response"]["body"]
        assert set(body) == set(other)
        assert body["usage"] == other["usage"]
        assert set(body["choices"][0]) == set(other["choices"][0])


@in_world()
async def test_each_answer_stands_at_its_own_row(place: Place) -> None:
    source = [dict(row, max_tokens=n + 1) for n, row in enumerate(rows(4))]
    await place.go(source)
    used = {
        name: line["response"]["body"]["usage"]["completion_tokens"]
        for name, line in lines(place.files).items()
    }
    assert used == {f"r{n}": n + 1 for n in range(4)}


@in_world(plan=Plan.always(CallTool("look", '{"at": 1}')))
async def test_calls_of_tools_come_through(place: Place) -> None:
    await place.go(rows(1))
    message = lines(place.files)["r0"]["response"]["body"]["choices"][0]["message"]
    assert message["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at": 1}'}


@in_world()
async def test_the_same_call_again_asks_for_nothing_and_new_rows_for_themselves(
    place: Place,
) -> None:
    await place.go(rows(4))
    progress = await place.go(rows(6))
    assert (progress.before, progress.answered) == (4, 2)
    assert (place.asked(BATCHES), place.asked(MESSAGES)) == (2, 6)


@in_world(
    plan=Plan((
        Rule((Status(529),), When(model="fast", every=3)),
        Rule((Stall(0),), When(model="fast", every=4)),
    ))
)
async def test_errored_and_expired_rows_are_failures_that_can_be_asked_again(
    place: Place,
) -> None:
    progress = await place.go(rows(12))
    failed = lines(place.files, ERRORS)
    assert progress.answered + progress.failed == 12
    assert trio.current_time() > 86_400  # what never ends expires after a day
    errored = [line for line in failed.values() if line["response"]]
    expired = [line for line in failed.values() if not line["response"]]
    assert errored and expired
    assert {line["response"]["status_code"] for line in errored} == {529}
    assert {line["error"]["code"] for line in expired} == {"batch_expired"}
    assert all(line["streamnursery"]["retryable"] for line in failed.values())
    place.provider.plan = Plan()
    await place.go(rows(12), retry_errors=True)
    assert len(lines(place.files)) == 12


def test_a_batch_that_is_canceled_elsewhere_has_rows_that_failed() -> None:
    @in_world()
    async def check(place: Place) -> None:
        source = rows(40)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def cancels() -> None:
                await trio.sleep(2)
                told = await place.ask("POST", "/messages/batches/msgbatch_sim_1/cancel")
                assert told["processing_status"] == "canceling"

            progress = await place.go(source, via=ProviderBatches())
        assert progress.complete
        assert 0 < progress.failed < 40
        failed = lines(place.files, ERRORS)
        assert {line["error"]["code"] for line in failed.values()} == {"batch_cancelled"}
        assert not set(failed) & set(lines(place.files))
        await place.go(source, retry_errors=True)
        assert len(lines(place.files)) == 40
        assert place.asked(MESSAGES) == 40  # what was canceled was never asked for

    check()


@pytest.mark.parametrize("seed", range(3))
def test_a_crash_at_any_write_makes_no_batch_twice_and_loses_no_answer(seed: int) -> None:
    source = rows(10)

    def crashing(moment: int) -> bool:
        crashed = False

        @in_world(seed=seed * 1000 + moment)
        async def run(place: Place) -> None:
            nonlocal crashed
            place.files.crash_at = moment
            try:
                await place.go(source)
            except BaseException as error:
                if not _is_crash(error):
                    raise
                crashed = True
                place.files.crash()
            place.files.crash_at = None
            progress = await place.go(source)
            assert progress.complete
            assert set(lines(place.files)) == {row["custom_id"] for row in source}
            assert place.asked(BATCHES) == 3
            assert place.asked(MESSAGES) == 10
            assert place.files.contents(ERRORS) == b""

        run()
        return crashed

    moment = 1
    while crashing(moment):
        moment += 1
    assert moment > 15


def _is_crash(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_crash(one) for one in error.exceptions)
    return isinstance(error, Crashed) or (
        error.__cause__ is not None and _is_crash(error.__cause__)
    )


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("request_", range(1, 8))
def test_an_answer_that_is_lost_makes_no_batch_twice(request_: int, others: int) -> None:
    lost = Cut(100, unit="bytes")  # in the middle of its head, or of its body

    @in_world()
    async def check(place: Place) -> None:
        for _ in range(others):
            await place.make(4)
        numbers = (len(place.provider.log) + request_,)
        place.provider.plan = Plan((Rule((lost,), When(requests=numbers)),))
        await place.goes_on(rows(6))
        assert len(lines(place.files)) == 6
        assert place.asked(BATCHES) == 2 + others
        paid = [record for record in place.provider.log if record.path == MESSAGES]
        assert len(paid) <= 6 + 4 * others

    check()


def crashed_when(
    moment_is_it: Callable[[Place], bool], then: Callable[[Place], Awaitable[None]]
) -> None:
    """Run `then` after the first crash of a run of four rows that is at such a moment."""
    found = False

    def tried(moment: int, seed: int) -> None:
        @in_world(seed=seed)
        async def run(place: Place) -> None:
            nonlocal found
            place.files.crash_at = moment
            try:
                await place.go(rows(4))
            except BaseException as error:
                if not _is_crash(error):
                    raise
            place.files.crash()
            place.files.crash_at = None
            if moment_is_it(place):
                found = True
                await then(place)

        run()

    for moment, seed in itertools.product(range(1, 60), range(5)):  # what is kept is diced
        if not found:
            tried(moment, seed)
    assert found


def journal(place: Place) -> bytes:
    path = "/out.jsonl.batches"
    return place.files.contents(path) if path in place.files.paths() else b""


@pytest.mark.parametrize("count", [4, 5])
@pytest.mark.parametrize("ended", [False, True])
def test_another_clients_batch_is_not_taken_for_the_one_that_was_lost(
    count: int, ended: bool
) -> None:
    async def then(place: Place) -> None:
        await place.make(count)
        if ended:
            await trio.sleep(60)
        await place.goes_on(rows(4))
        assert place.asked(BATCHES) == 2  # ours, and theirs
        found = lines(place.files).values()
        assert [line["streamnursery"]["batch"] for line in found] == ["msgbatch_sim_1"] * 4

    crashed_when(
        lambda place: place.asked(BATCHES) == 1 and b"msgbatch" not in journal(place), then
    )


def test_one_that_was_lost_and_works_for_a_day_is_waited_for() -> None:
    async def then(place: Place) -> None:
        place.provider.plan = Plan((Rule((Stall(0),), When(every=2)),))
        await place.goes_on(rows(4))
        assert place.asked(BATCHES) == 1
        assert trio.current_time() > 86_000
        assert len(lines(place.files)) + len(lines(place.files, ERRORS)) == 4

    crashed_when(
        lambda place: place.asked(BATCHES) == 1 and b"msgbatch" not in journal(place), then
    )


@pytest.mark.parametrize("ended", [False, True])
def test_one_that_never_reached_the_provider_is_made_once_what_looks_like_it_has_ended(
    ended: bool,
) -> None:
    async def then(place: Place) -> None:
        theirs = await place.make(4)
        if ended:
            await trio.sleep(60)
        await place.goes_on(rows(4))
        assert place.asked(BATCHES) == 2
        found = lines(place.files).values()
        assert len(found) == 4
        assert theirs not in {line["streamnursery"]["batch"] for line in found}

    crashed_when(lambda place: place.asked(BATCHES) == 0 and b'"asked"' in journal(place), then)


def test_a_stop_leaves_the_batches_and_the_next_run_fetches_them() -> None:
    @in_world()
    async def check(place: Place) -> None:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def soon() -> None:
                await trio.sleep(1)
                stop.set()

            progress = await place.go(rows(4), stop=stop)
        assert progress.stopped
        assert (progress.answered, progress.in_flight) == (0, 4)
        with pytest.raises(sn.errors.BatchFileError, match=r"1 batches of .* are at the provider"):
            await place.go(rows(4), via=None)
        progress = await place.go(rows(4))
        assert (progress.answered, place.asked(BATCHES)) == (4, 1)

    check()


@in_world()
async def test_a_batch_that_is_refused_ends_the_run_and_frees_its_rows(place: Place) -> None:
    many = rows(MOST_LINES + 1)
    progress = await place.go(many, via=ProviderBatches())
    assert progress.error is not None
    assert progress.error.status == 400
    assert progress.done == 0
    progress = await place.go(many[:3], via=None)
    assert (progress.error, progress.answered) == (None, 3)


@in_world()
async def test_a_path_that_is_not_anthropics_is_told_before_anything_is_sent(
    place: Place,
) -> None:
    body = {"model": "claude/fast", "input": "Hi"}
    source = [{"custom_id": "e", "method": "POST", "url": "/v1/embeddings", "body": body}]
    progress = await place.go(source)
    assert isinstance(progress.error, sn.ConfigError)
    assert "speaks anthropic-messages" in str(progress.error)
    assert len(place.provider.log) == 0


@in_world()
async def test_half_of_the_listed_price_is_counted(place: Place) -> None:
    config = {
        "endpoints": {"claude": {"url": "http://claude.test/v1", "dialect": "anthropic-messages"}},
        "models": {
            "m": {
                "routes": [{"endpoint": "claude", "model": "fast"}],
                "price": {"input": "1 USD", "output": "100 USD"},
            }
        },
    }
    async with place.world.open_engine(config) as eng:
        progress = await batch.run(eng, rows(4, model="m"), out=OUT, files=place.files, via=FEW)
    nano_usd = 1000 * (progress.input_tokens + 100 * progress.output_tokens)
    assert progress.output_tokens == 12
    assert progress.spent == pytest.approx(nano_usd / 2, rel=0.01)
