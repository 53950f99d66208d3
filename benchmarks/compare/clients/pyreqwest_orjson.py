"""pyreqwest, a client in Rust, and orjson by hand, on uvloop.

Its read buffer is off: with it, tokens are kept back until 64 KiB have come or the answer ends.
"""

from pathlib import Path

import on_asyncio
import orjson
import uvloop
from job import Answer, Job
from pyreqwest.client import ClientBuilder

job = Job.from_arguments()
TARGET = f"{job.base}/chat/completions"


def client() -> ClientBuilder:
    builder = ClientBuilder().default_headers({"content-type": "application/json"})
    if job.ca:
        builder = builder.add_root_certificate_pem(Path(job.ca).read_bytes())
    if job.http == "2":
        builder = builder.http2(True)
    if job.fresh:
        builder = builder.pool_max_idle_per_host(0)
    return builder


async def main() -> None:
    async with client().build() as session:

        async def consume(answer: Answer) -> None:
            saw, tail, loads = answer.saw, b"", orjson.loads
            body = orjson.dumps(job.body(answer))
            request = session.post(TARGET).body_bytes(body).streamed_read_buffer_limit(0)
            async with request.build_streamed() as response:
                read = response.body_reader.read_chunk
                while (data := await read()) is not None:
                    events = (tail + data.to_bytes()).split(b"\n\n")
                    tail = events.pop()
                    for event in events:
                        if event == b"data: [DONE]":
                            answer.ended = True
                            continue
                        choices = loads(event[6:])["choices"]
                        if choices:
                            text = choices[0]["delta"].get("content")
                            if text:
                                saw(text)

        await on_asyncio.run(job, consume)


uvloop.run(main())
