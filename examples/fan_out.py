"""Two hundred requests over two models, each within its own limit; the failures do not spoil it.

python examples/fan_out.py
"""

import trio

import streamnursery as sn

CONFIG = {
    "engine": {"max_streams": 12},
    "models": {"sim/fast": {"max_streams": 8}, "sim/gemini-2.5-flash": {"max_streams": 10}},
}


def requests() -> list[sn.ChatRequest]:
    """The last of them will fail: its provider breaks off after the third token."""
    models = ["sim/fast", "sim/gemini-2.5-flash", "sim/fast", "sim/fast"]
    found = [
        sn.ChatRequest(
            models[i % 4], [{"role": "user", "content": f"Fact {i}, please"}], max_tokens=4
        )
        for i in range(199)
    ]
    broken = [{"role": "user", "content": "And one more"}]
    return [*found, sn.ChatRequest("sim/fast?cut=3", broken)]


async def main() -> None:
    async with sn.open_engine(CONFIG) as eng:
        outcomes = await eng.settle(requests())
        for outcome in outcomes[:3]:
            print(f"{outcome.index}: {outcome.completion.text if outcome.completion else ''}")
        failed = [outcome for outcome in outcomes if not outcome.ok]
        print(f"{len(outcomes) - len(failed)} whole, {len(failed)} failed")
        for outcome in failed:
            assert outcome.error is not None
            said = outcome.error.partial.text if outcome.error.partial else ""
            print(f"{outcome.index}: {type(outcome.error).__name__} after {said!r}")
        for name, model in eng.statistics().models.items():
            print(f"{name}: at most {model.peak_active} of {model.max_streams} at once")


if __name__ == "__main__":
    trio.run(main)
