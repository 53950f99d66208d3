"""Your own call under the engine's limits: any async function, any client, the same slots.

python examples/own_function.py
"""

import trio

import streamnursery as sn

CONFIG = {"engine": {"max_streams": 4}, "models": {"embedder": {"max_streams": 3}}}


async def embed(text: str) -> list[float]:
    """Stands for a call of another library: embeddings, images, a local model."""
    await trio.sleep(0.01)
    return [float(len(word)) for word in text.split()]


async def main() -> None:
    texts = [f"text number {number} of some length" for number in range(20)]
    vectors: dict[str, list[float]] = {}

    async with sn.open_engine(CONFIG) as eng:

        async def one(text: str) -> None:
            vectors[text] = await eng.run("embedder", embed, text)

        async with trio.open_nursery() as nursery:
            for text in texts:
                nursery.start_soon(one, text)
            # Streams go through the same limits at the same time.
            print((await eng.complete("sim/fast", "Meanwhile?", max_tokens=5)).text)

        # The same by hand, with what the call has used.
        async with eng.lease("embedder", timeout=5) as lease:
            vectors["last"] = await embed("last")
            lease.report(input_tokens=1, output_tokens=0)

        embedder = eng.statistics().models["embedder"]
    print(f"{len(vectors)} vectors, at most {embedder.peak_active} calls at once")


if __name__ == "__main__":
    trio.run(main)
