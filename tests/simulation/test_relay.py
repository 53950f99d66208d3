"""A relay has everything that a stream has before its first byte, and leaves nothing behind."""

import json
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery import (
    BudgetExceededError,
    EngineError,
    ProtocolError,
    RequestError,
    Secret,
)
from streamnursery.simulator import BadJson, Cut, InStreamError, Plan, Stall, Status
from streamnursery.simulator.fault import Fault
from streamnursery.testing import World, cancel_at_every_step
from streamnursery.values.policy import PriorityName, Retries
from tests.support.recorded import Recorded, engine_at
from tests.support.relays import BODY, CHAT, PRICE, TEXT, read, said, text_of
from tests.support.scene import AT_ONCE, PACED, always, once, scene, virtual

# What comes before the first byte. ---------------------------------------------------------------


@virtual
async def test_an_answer_is_handed_on_with_its_figures() -> None:
    async with scene(profile=PACED) as s:
        async with s.engine.relay("m", CHAT, BODY) as answer:
            assert answer.status == 200
            assert ("content-type", "text/event-stream; charset=utf-8") in answer.headers
            assert not {"transfer-encoding", "connection"} & {n for n, _ in answer.headers}
            data = await answer.read()
            assert text_of(data) == said(s)
            assert answer.usage is not None
            assert answer.usage.output_tokens == 10
            assert answer.timings.time_to_first_token == 1.0
            assert answer.route == "main/m"
        model = s.engine.statistics().models["m"]
        assert (model.succeeded, model.output_tokens) == (1, 10)


@pytest.mark.parametrize("fault", [Status(503), Cut(0), InStreamError(0)])
def test_what_fails_before_the_first_content_is_asked_again_unseen(fault: Fault) -> None:
    @virtual
    async def run() -> None:
        async with scene(once(fault), profile=AT_ONCE) as s:
            status, data = await read(s.engine)
            assert (status, text_of(data)) == (200, said(s))
            assert s.asked == 2

    run()


@virtual
async def test_what_must_not_be_done_twice_is_asked_for_once() -> None:
    async with scene(once(Status(503)), profile=AT_ONCE) as s:
        async with s.engine.relay("m", CHAT, BODY, retries=Retries(attempts=1)) as answer:
            assert answer.status == 503
        assert s.asked == 1


@virtual
async def test_a_break_behind_content_hands_on_what_came_and_raises() -> None:
    async with scene(always(Cut(3))) as s:
        got = b""
        with pytest.raises(EngineError) as caught:
            async with s.engine.relay("m", CHAT, BODY) as answer:
                async for piece in answer:
                    got += piece
        assert caught.value.committed
        assert s.asked == 1
        assert said(s).startswith(text_of(got))
        assert text_of(got)


@virtual
async def test_an_error_inside_the_stream_is_handed_on_behind_content() -> None:
    async with scene(always(InStreamError(3, message="Broken."))) as s:
        got = b""
        with pytest.raises(EngineError):
            async with s.engine.relay("m", CHAT, BODY) as answer:
                async for piece in answer:
                    got += piece
        assert b"Broken." in got


@virtual
async def test_what_cannot_be_read_is_not_handed_on() -> None:
    async with scene(always(BadJson(3))) as s:
        got = b""
        with pytest.raises(ProtocolError):
            async with s.engine.relay("m", CHAT, BODY) as answer:
                async for piece in answer:
                    got += piece
        assert said(s).startswith(text_of(got))
        assert text_of(got)


@virtual
async def test_an_answer_that_says_no_is_handed_on_when_no_attempt_is_left() -> None:
    retries = {"attempts": 2, "base": 0.1}
    async with scene(always(Status(429, 0.5)), model={"retries": retries}) as s:
        async with s.engine.relay("m", CHAT, BODY) as answer:
            assert answer.status == 429
            assert dict(answer.headers)["retry-after"]
            body = await answer.read()
            assert "error" in json.loads(body)
            assert dict(answer.headers)["content-length"] == str(len(body))
            assert answer.error is not None
        assert s.asked == 2


def two_endpoints(**second: Any) -> dict[str, Any]:
    routes = [{"endpoint": "main"}, {"endpoint": "b", "model": "other-m"}]
    return {
        "endpoints": {
            "main": {"url": "http://main.example.com/v1", "key": Secret("sk-main")},
            "b": {"url": "http://b.example.com/api/v2", "key": Secret("sk-b"), **second},
        },
        "models": {"m": {"routes": routes, "retries": {"attempts": 1}}},
    }


@virtual
async def test_it_falls_back_under_the_other_endpoints_path_model_and_key() -> None:
    recorded = Recorded([TEXT, b"data: [DONE]\n\n"], refuses=1)
    async with engine_at(recorded, two_endpoints()) as eng:
        own = {"x-private": "mine", "openai-beta": "a=b"}
        assert (await read(eng, path=f"/v1{CHAT}?trace=1", headers=own))[0] == 200
    first, second = recorded.asked
    assert (first.target, second.target) == (f"/v1{CHAT}?trace=1", f"/api/v2{CHAT}")
    assert [json.loads(asked.body)["model"] for asked in recorded.asked] == ["m", "other-m"]
    assert [asked.headers["openai-beta"] for asked in recorded.asked] == ["a=b", "a=b"]
    assert first.headers["x-private"] == "mine"
    assert "x-private" not in second.headers
    keys = [asked.headers["authorization"] for asked in recorded.asked]
    assert keys == ["Bearer sk-main", "Bearer sk-b"]


@virtual
async def test_a_credential_of_the_caller_goes_home_and_nowhere_else() -> None:
    recorded = Recorded([TEXT, b"data: [DONE]\n\n"], refuses=1)
    async with engine_at(recorded, two_endpoints(auth="api-key")) as eng:
        await read(eng, headers={"x-api-key": Secret("sk-caller")})
        with pytest.raises(RequestError, match="Secret"):
            await read(eng, headers={"authorization": "Bearer sk-caller"})
    first, second = recorded.asked
    assert first.headers["x-api-key"] == "sk-caller"
    assert "authorization" not in first.headers
    assert "x-api-key" not in second.headers
    assert second.headers["api-key"] == "sk-b"


@virtual
async def test_with_exact_no_route_is_asked_under_another_name() -> None:
    recorded = Recorded([TEXT, b"data: [DONE]\n\n"], refuses=1)
    async with engine_at(recorded, two_endpoints()) as eng:
        assert (await read(eng, exact=True))[0] == 503
        with pytest.raises(RequestError, match="may not be changed"):
            await read(eng, {**BODY, "model": "something"}, exact=True)
    assert len(recorded.asked) == 1


@virtual
async def test_routes_of_another_dialect_are_left_out() -> None:
    endpoints = {
        "main": {"url": "http://main.example.com/v1"},
        "b": {"url": "http://b.example.com/v1", "dialect": "anthropic-messages"},
    }
    retries = {"attempts": 1}
    plan = always(Status(503))
    model = {"retries": retries}
    async with scene(plan, backups={"b": Plan()}, endpoints=endpoints, model=model) as s:
        assert (await read(s.engine))[0] == 503
        assert not list(s.providers["b"].log)
        with pytest.raises(RequestError, match="no route of 'm' takes this request"):
            async with s.engine.relay("m", "/models/m:generateContent", {"contents": []}):
                pass


@virtual
async def test_never_more_than_the_cap_run_upstream() -> None:
    async with scene(profile=PACED, engine={"max_streams": 20}) as s:
        most = 0

        async def one() -> None:
            nonlocal most
            async with s.engine.relay("m", CHAT, BODY) as answer:
                running = sum(r.ended_at is None for r in s.provider.log)
                most = max(most, running)
                await answer.read()

        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(one)
        assert s.asked == 1000
        assert most == 20


@virtual
async def test_500_hang_ups_leave_nothing() -> None:
    async with scene(profile=PACED, engine={"max_streams": 50}) as s:

        async def one(number: int) -> None:
            with trio.move_on_after(number % 50 * 0.05):
                async with s.engine.relay("m", CHAT, BODY) as answer:
                    await answer.read()

        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(one, number)
        assert s.engine.statistics().buffered_bytes == 0


async def _cancelled(world: World, scope: trio.CancelScope) -> None:
    async with world.open_engine(world.config(max_streams=1)) as eng:
        with scope:
            for stream in (True, False):
                body = {**BODY, "model": "gpt-4.1", "stream": stream, "max_tokens": 3}
                async with eng.relay("gpt-4.1", CHAT, body) as answer:
                    await answer.read()


def test_a_cancel_at_any_step_leaves_nothing(tier: str) -> None:
    cancel_at_every_step(_cancelled, most={"test": 40}.get(tier))


@virtual
async def test_a_budget_is_held_and_settled_with_what_was_told() -> None:
    budgets = {"daily": "0.001 USD"}
    async with scene(profile=AT_ONCE, model={"price": PRICE}, budgets=budgets) as s:
        assert (await read(s.engine, {**BODY, "max_tokens": 20}))[0] == 200
        (spent,) = s.engine.usage_report().lines
        assert (spent.output_tokens, spent.estimated, spent.reserved) == (10, 0, 0)
        assert spent.spent > 0
        with pytest.raises(BudgetExceededError):
            await read(s.engine, {**BODY, "max_tokens": 10_000})


@virtual
async def test_the_deadline_ends_it() -> None:
    async with scene(profile=PACED) as s:
        with pytest.raises(EngineError):
            await read(s.engine, timeout=1.5)
        assert trio.current_time() == pytest.approx(1.5, abs=0.1)


# Who may go first, and what it costs. -----------------------------------------------------------


@virtual
async def test_a_late_first_attempt_has_a_hedge() -> None:
    slow = once(Stall(0))
    async with scene(slow, profile=AT_ONCE, model={"hedge_after": 1.0}) as s:
        assert text_of((await read(s.engine))[1]) == said(s)
        assert s.asked == 2
        assert trio.current_time() < 2


@virtual
async def test_tenants_take_turns_and_priorities_go_first() -> None:
    async with scene(profile=PACED, engine={"max_streams": 1}) as s:
        order: list[str] = []

        async def one(tenant: str, priority: PriorityName) -> None:
            async with s.engine.relay("m", CHAT, BODY, tenant=tenant, priority=priority) as answer:
                order.append(f"{tenant} {priority}")
                await answer.read()

        async with trio.open_nursery() as nursery:
            for tenant, priority in TURNS:
                nursery.start_soon(one, tenant, priority)
                await wait_all_tasks_blocked()
        assert order[0] == "a batch"  # nobody else was there
        assert order[1:3] == ["a interactive", "b interactive"]
        assert set(order[3:5]) == {"a batch", "b batch"}
        lines = s.engine.usage_report().lines
        assert {line.tenant: line.output_tokens for line in lines} == {"a": 40, "b": 20}


TURNS: tuple[tuple[str, PriorityName], ...] = (
    ("a", "batch"),
    ("a", "batch"),
    ("a", "batch"),
    ("b", "batch"),
    ("a", "interactive"),
    ("b", "interactive"),
)


@virtual
async def test_rates_hold_it_back() -> None:
    async with scene(profile=AT_ONCE, model={"rpm": 60}) as s:
        began = trio.current_time()
        for _ in range(61):
            await read(s.engine)
        assert trio.current_time() - began >= 0.9
        assert s.asked == 61


@virtual
async def test_with_exact_an_estimate_is_booked() -> None:
    recorded = Recorded([TEXT, b"data: [DONE]\n\n"])
    settings = two_endpoints()
    settings["models"]["m"] |= {"price": PRICE}
    async with engine_at(recorded, settings) as eng:
        assert (await read(eng, exact=True))[0] == 200
        (line,) = eng.usage_report().lines
        assert line.estimated > 0
        assert line.reserved == 0
