"""litellm.acompletion on asyncio, as its documentation shows it; limits on connections lifted."""

import asyncio
import os
from collections.abc import Callable

import on_asyncio
from job import Job

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # asks no server for prices
os.environ["AIOHTTP_CONNECTOR_LIMIT"] = os.environ["AIOHTTP_CONNECTOR_LIMIT_PER_HOST"] = "100000"
import litellm

job = Job.from_arguments()


async def consume(saw: Callable[[str], None]) -> None:
    stream = await litellm.acompletion(
        model="openai/bench",
        api_base=job.base,
        api_key="none",
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
    )
    async for chunk in stream:
        text = chunk.choices[0].delta.content
        if text:
            saw(text)


asyncio.run(on_asyncio.run(job, consume))
