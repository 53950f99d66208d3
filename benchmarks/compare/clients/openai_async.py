"""AsyncOpenAI on asyncio, as its documentation shows it; only the connection limit is lifted."""

import asyncio
import ssl

import on_asyncio
from job import Answer, Job
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

job = Job.from_arguments()


async def main() -> None:
    verify = ssl.create_default_context(cafile=job.ca) if job.ca else True
    http = DefaultAsyncHttpxClient(verify=verify)
    async with AsyncOpenAI(base_url=job.base, api_key="none", http_client=http) as client:

        async def consume(answer: Answer) -> None:
            stream = await client.chat.completions.create(
                model="bench",
                messages=[{"role": "user", "content": answer.prompt}],
                stream=True,
                stream_options={"include_usage": True},
            )
            async with stream:
                async for chunk in stream:
                    if chunk.choices:
                        choice = chunk.choices[0]
                        if choice.delta.content:
                            answer.saw(choice.delta.content)
                        if choice.finish_reason == "stop":
                            answer.ended = True

        await on_asyncio.run(job, consume)


asyncio.run(main())
