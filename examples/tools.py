"""A model that calls tools: all calls of a turn at once, under limits, until it answers.

python examples/tools.py
"""

from functools import partial

import trio

import streamnursery as sn
from streamnursery.settings import Call

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
TURNS = ("sim/fast?call_tool", "sim/fast?respond=6")  # a real model decides by itself


async def weather(city: str) -> str:
    await trio.sleep(0.01)
    return f"sun over {city}"


async def run(eng: sn.Engine, messages: list[dict[str, object]]) -> str:
    for model in TURNS:
        answer = await eng.complete(model, messages, tools=TOOLS)
        messages.append(answer.message())
        calls = [
            Call("weather", partial(weather, **answer.parse(call)), retry_on=OSError)
            for call in answer.tool_calls
        ]
        outcomes = await eng.settle(calls)
        for call, outcome in zip(answer.tool_calls, outcomes, strict=True):
            said = str(outcome.value if outcome.ok else outcome.error)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": said})
        if not calls:
            break
    return answer.text


async def main() -> None:
    async with sn.open_engine({"models": {"weather": {"max_streams": 4}}}) as eng:
        messages: list[dict[str, object]] = [{"role": "user", "content": "How is the weather?"}]
        print("answer:", await run(eng, messages))
        print("roles:", *(message["role"] for message in messages))
        print(messages[2]["content"])


if __name__ == "__main__":
    trio.run(main)
