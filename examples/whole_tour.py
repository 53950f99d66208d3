"""A streaming service in one file: all that an embedder asks of it, without a key.

python examples/whole_tour.py
"""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import trio

import streamnursery as sn
from streamnursery.settings import Call, Heartbeat, Reconnect, SessionSettings

LIMITS = {"sim/gpt-4.1": 5, "sim/fast": 3, "sim/gemini-2.5-flash": 8, "local": 10}
REFUSES = {"endpoint": "sim", "model": "fast?status=429&status.retry_after=0.01&respond=4"}
CONFIG: dict[str, Any] = {
    "engine": {"max_streams": 10},
    "defaults": {"model": "sim/fast", "max_tokens": 4, "retries": {"attempts": 2, "base": 0.01}},
    "budgets": {"daily": "5.00"},
    "models": {
        **{name: {"max_streams": limit} for name, limit in LIMITS.items()},
        "large": {"routes": [{"endpoint": "sim", "model": "gpt-4.1"}], "quality": 9, "ttft": 0.9},
        "safe": {"routes": [REFUSES, {"endpoint": "sim", "model": "fast"}]},
    },
}
for _name, _price in zip(CONFIG["models"], ("2", "0.1", "0.3", "1", "8", "9"), strict=True):
    CONFIG["models"][_name]["price"] = {"input": _price, "output": _price}
SESSION = SessionSettings(heartbeat=Heartbeat(interval=0.05), reconnect=Reconnect(base=0.01))


async def local(number: int) -> int:
    await trio.sleep(0.002)
    Call.report(input_tokens=1000)
    return number * number


async def words() -> AsyncIterator[str]:
    for word in ("a ", "stream ", "of one's own"):
        yield word
    await trio.lowlevel.checkpoint()


async def events(eng: sn.Engine) -> None:
    kinds: Counter[str] = Counter()
    async with eng.stream(prompt="Hello") as stream:
        async for event in stream:
            kinds[type(event).__name__] += 1
    print(f"events: {kinds['TextDelta']} deltas, {kinds['Finished']} end")
    async with eng.stream_from("local", words) as own:
        print("own:", (await own.completion()).text)


async def pool(eng: sn.Engine) -> None:
    """100 calls over four models; the last of them fails, and the others do not notice."""
    names = list(LIMITS)[:3]
    work: list[sn.ChatRequest | Call] = [
        Call("local", local, n) if n % 4 == 3 else sn.ChatRequest(names[n % 4], f"Fact {n}")
        for n in range(99)
    ]
    outcomes = await eng.settle([*work, sn.ChatRequest("sim/fast?cut=1", "Fact 99")])
    models = eng.statistics().models
    kept = all(models[name].peak_active <= limit for name, limit in LIMITS.items())
    print(f"pool: {sum(o.ok for o in outcomes)} of {len(outcomes)}, limits kept: {kept}")
    print(f"own calls: {sum(o.value or 0 for o in outcomes)}, each {outcomes[3].cost}")


async def session(eng: sn.Engine) -> None:
    """A connection that beats, breaks with its first answer, and comes back."""
    async with eng.session("sim", settings=SESSION) as link:
        receipt = link.send_nowait({"type": "response.cancel", "stream_id": "none"})
        async with link.stream("sim/fast?reset=2", "Hi") as broken:
            error = await caught(broken)
        async with link.stream("sim/fast", "Again", on_interrupt="restart") as stream:
            text = (await stream.completion()).text
        sent, again = (await receipt.wait()).value, link.statistics().reconnects
    print(f"session: {error}, then {len(text.split())} words, {sent}, {again} reconnects")


async def caught(stream: sn.TokenStream) -> str:
    try:
        await stream.completion()
    except sn.EngineError as error:
        return f"{error.category} after {len(error.partial.text if error.partial else '')}"
    return "whole"


async def router(eng: sn.Engine) -> None:
    for task in (sn.TaskProfile("Hi", complexity=2, budget="low"), sn.TaskProfile("Prove", 9)):
        answer = await eng.complete(task)
        print(f"router: {eng.choose(task).model}, {answer.cost}")
    estimate = eng.estimate("large", "Hi", max_tokens=100)
    spent = sn.Money(eng.usage_report().total.spent)
    print(f"report: {spent} spent, the next at most {estimate.routes[0].high}")


async def failures(eng: sn.Engine) -> None:
    patience = sn.Patience(first_token=1, idle=0.05, total="auto")
    for model in ("sim/fast?stall=2,9", "sim/fast?status=401", "sim/fast?garbage=html", "safe"):
        async with eng.stream(model, "Hi", patience=patience) as stream:
            end = await caught(stream)
        print(f"{model.partition('?')[2] or model}: {end}, {len(stream.attempts)} attempts")


async def main() -> None:
    async with sn.open_engine(CONFIG) as eng:
        for part in (events, pool, session, router, failures):
            await part(eng)
        async with trio.open_nursery() as nursery:  # whoever is cancelled leaves nothing behind
            nursery.start_soon(eng.complete, "sim/fast?stall=0,99", "Hi")
            await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        found = eng.statistics()
        pace = found.models["sim/gpt-4.1"].tokens_per_second or 0.0
        print(f"benchmark: {pace:.0f} tokens/s, {found.models['sim/gpt-4.1'].ttft}")
        print(f"left: {found.active} active, {found.streams} streams\n{found.table()}")


if __name__ == "__main__":
    trio.run(main)
