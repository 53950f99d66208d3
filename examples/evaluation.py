"""An evaluation: questions pulled on demand, answers scored as they finish, one JSON line each.

python examples/evaluation.py > results.jsonl
"""

import json
import sys
from collections.abc import Iterator

import trio

import streamnursery as sn

MODELS = ["sim/fast", "sim/gemini-2.5-flash"]


def questions() -> Iterator[sn.ChatRequest]:
    """May be a file of any length: no more is read than `max_in_flight` allows."""
    for number in range(30):
        prompt = f"Question {number}: is the sky blue?"
        for model in MODELS:
            message = {"role": "user", "content": prompt}
            yield sn.ChatRequest(model, [message], max_tokens=8, seed=number)


def score(text: str) -> int:
    """Yours would be better."""
    return len(set(text.split()))


async def main() -> None:
    points = dict.fromkeys(MODELS, 0)
    async with sn.open_engine({}) as eng:
        async with eng.as_completed(questions(), max_in_flight=20) as outcomes:
            async for outcome in outcomes:
                line = {"index": outcome.index, "model": outcome.request.model}
                if outcome.completion is not None:
                    points[outcome.request.model] += score(outcome.completion.text)
                    line |= {"text": outcome.completion.text, "route": outcome.completion.route}
                else:
                    line |= {"error": type(outcome.error).__name__}
                print(json.dumps(line, ensure_ascii=False))
    print(points, file=sys.stderr)


if __name__ == "__main__":
    trio.run(main)
