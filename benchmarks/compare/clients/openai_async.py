"""AsyncOpenAI on asyncio, as its documentation shows it; only the connection limit is lifted."""

import asyncio
import ssl
from collections.abc import Callable

import on_asyncio
from job import Job
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

job = Job.from_arguments()


async def main() -> None:
    verify = ssl.create_default_context(cafile=job.ca) if job.ca else True
    http = DefaultAsyncHttpxClient(verify=verify)
    async with AsyncOpenAI(base_url=job.base, api_key="none", http_client=http) as client:

        async def consume(saw: Callable[[str], None]) -> None:
            stream = await client.chat.completions.create(
                model="bench", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            async with stream:
                async for chunk in stream:
                    if chunk.choices and chunk.choices[0].delta.content:
                        saw(chunk.choices[0].delta.content)

        await on_asyncio.run(job, consume)


asyncio.run(main())
