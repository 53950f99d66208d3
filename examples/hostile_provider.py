"""What a provider can do to a stream, and what you get: a whole answer or one typed error.

python examples/hostile_provider.py
"""

import trio

import streamnursery as sn

MODELS = {
    "ends after the third token": "sim/fast?cut=3,end",
    "breaks off before the first": "sim/fast?reset=0",
    "falls silent": "sim/fast?stall=2,60",
    "answers 429": "sim/fast?status=429&status.retry_after=1",
    "sends half a JSON object": "sim/fast?bad_json=1",
    "reports an error inside the answer": "sim/fast?in_stream_error=2",
    "sends a web page": "sim/fast?garbage=html",
    "never finishes its line": "sim/fast?garbage=endless_line",
    "forgets its end mark": "sim/fast?no_end_mark=1",
    "is only odd": "sim/fast?crlf=1&comments=2&split=7",
}
PATIENCE = sn.Patience(idle=0.5)
ONCE = sn.Retries(attempts=1)


async def ask(eng: sn.Engine, what: str, model: str) -> str:
    request = sn.ChatRequest(
        model, [{"role": "user", "content": "Hi"}], patience=PATIENCE, retries=ONCE
    )
    try:
        completion = await eng.complete(request)
    except sn.EngineError as error:
        delivered = len(error.partial.text) if error.partial else 0
        again = "may be retried" if error.retryable and not error.committed else "final"
        return f"{what}: {type(error).__name__}, {delivered} characters delivered, {again}"
    return f"{what}: whole, {len(completion.text)} characters"


async def main() -> None:
    async with sn.open_engine({}) as eng:
        for what, model in MODELS.items():
            print(await ask(eng, what, model))


if __name__ == "__main__":
    trio.run(main)
