"""The loop that people write: AsyncOpenAI, a semaphore, a line appended for each answer.

python openai_loop.py IN OUT URL AT_ONCE [streamed]
"""

import asyncio
import json
import sys
from typing import Any

from openai import AsyncOpenAI


async def main(source: str, out: str, url: str, at_once: int, streamed: bool) -> None:
    client, room = AsyncOpenAI(base_url=url, api_key="any"), asyncio.Semaphore(at_once)

    async def one(line: dict[str, Any]) -> None:
        async with room:
            try:
                if streamed:
                    stream = await client.chat.completions.create(**line["body"], stream=True)
                    text = "".join([
                        chunk.choices[0].delta.content or ""
                        async for chunk in stream
                        if chunk.choices
                    ])
                else:
                    answer = await client.chat.completions.create(**line["body"])
                    text = answer.choices[0].message.content
            except Exception as error:  # noqa: BLE001 - what the loop does with it: a line on stderr
                print(line["custom_id"], type(error).__name__, file=sys.stderr)
                return
            file.write(json.dumps({"custom_id": line["custom_id"], "text": text}) + "\n")

    with open(source) as lines, open(out, "a") as file:  # noqa: ASYNC230 - as people write it
        await asyncio.gather(*(one(json.loads(line)) for line in lines))


if __name__ == "__main__":
    source, out, url, at_once, *more = sys.argv[1:]
    asyncio.run(main(source, out, url, int(at_once), bool(more)))
