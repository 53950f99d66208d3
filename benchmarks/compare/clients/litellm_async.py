"""litellm.acompletion on asyncio, as its documentation shows it; limits on connections lifted."""

import asyncio
import os

import on_asyncio
from job import Answer, Job

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # asks no server for prices
os.environ["AIOHTTP_CONNECTOR_LIMIT"] = os.environ["AIOHTTP_CONNECTOR_LIMIT_PER_HOST"] = "100000"
import litellm

job = Job.from_arguments()


async def consume(answer: Answer) -> None:
    stream = await litellm.acompletion(
        model="openai/bench",
        api_base=job.base,
        api_key="none",
        messages=[{"role": "user", "content": answer.prompt}],
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        if chunk.choices:
            choice = chunk.choices[0]
            if choice.delta.content:
                answer.saw(choice.delta.content)
            if choice.finish_reason == "stop":
                answer.ended = True


asyncio.run(on_asyncio.run(job, consume))
