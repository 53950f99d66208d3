"""A hundred prompts at once by `llm` for asyncio, ten by threads, and a turn with a tool."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import llm


def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


async def many(model: llm.AsyncModel) -> list[str]:
    async def one(at: int) -> str:
        text: str = await model.prompt(f"Why is the sky blue? ({at})").text()
        return text

    return await asyncio.gather(*map(one, range(100)))


def main() -> None:
    name = "streamnursery/sim/fast"
    texts = asyncio.run(many(llm.get_async_model(name)))
    model = llm.get_model(name)
    with ThreadPoolExecutor(10) as pool:
        again = [
            *pool.map(lambda at: model.prompt(f"Why is the sky blue? ({at})").text(), range(10))
        ]
    talk = model.conversation()
    first = talk.prompt("Why is the sky blue?", temperature=0.5, max_tokens=5)
    first.text()
    second = talk.prompt("And at night?")
    second.text()
    called = llm.get_model(
        'streamnursery/sim/fast?call_tool.function=add&call_tool.arguments={"x":1%2C"y":3}'
    )
    answer = called.prompt("Add 1 and 3", tools=[llm.Tool.function(add)])
    answer.text()
    try:
        llm.get_model("streamnursery/sim/fast?cut=3").prompt("Hi").text()
        cut = "reported as whole"
    except llm.ModelError as error:
        cut = str(error)
    found = {
        "texts": texts,
        "again": again,
        "output_tokens": first.output_tokens,
        "input_tokens": [first.input_tokens, second.input_tokens],
        "resolved": first.resolved_model,
        "result": [result.output for result in answer.execute_tool_calls()],
        "cut": cut,
    }
    print(json.dumps(found))


main()
