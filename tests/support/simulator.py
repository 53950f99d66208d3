"""A client for simulated providers: sends bytes, reads to the end, parses with h11."""

import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from random import Random
from typing import Any, Protocol

import attrs
import h11
import trio

from streamnursery.simulator import Host, Link, Plan, Profile, Provider, SimNetwork
from streamnursery.simulator.fault import Fault
from streamnursery.simulator.pipe import PipeConnection

PROMPT = [{"role": "user", "content": "Why is the sky blue?"}]
STEADY = Profile(1.0, 1.0, 10, (5, 5))
"""The first of five tokens after a second, the others each tenth of a second."""
MODELS = {"fast": Profile(output_tokens=(5, 5)), "steady": STEADY, "gpt-4.1": STEADY}


class Line(Protocol):
    """What the client needs of a connection."""

    def recv_nowait(self, max_bytes: int) -> bytes: ...
    async def wait_readable(self) -> None: ...
    async def send_all(self, data: bytes) -> None: ...
    def close(self) -> None: ...


def chat(model: str = "sim/fast", *, stream: Any = True, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": PROMPT, "stream": stream, **fields}


def http(
    body: object = None,
    *headers: str,
    method: str = "POST",
    target: str = "/v1/chat/completions",
    version: str = "1.1",
    close: bool = True,
) -> bytes:
    """A request's bytes; `body` is JSON unless it is bytes."""
    content = (
        body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    )
    lines = [f"{method} {target} HTTP/{version}", "host: sim.test", *headers]
    if close:
        lines.append("connection: close")
    if content or method == "POST":
        lines.append(f"content-length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode() + content


@attrs.define
class Answer:
    """All that came back on one connection."""

    raw: bytes = b""
    reads: list[tuple[float, bytes]] = attrs.field(factory=list, repr=False)
    ending: str = ""
    """"fin" or "rst"."""
    status: int = 0
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    whole: bool = False
    """The message ended as its framing says."""

    @property
    def data(self) -> list[str]:
        """The `data:` fields of the body's events."""
        lines = self.body.replace(b"\r\n", b"\n").split(b"\n")
        return [line[6:].decode() for line in lines if line.startswith(b"data: ")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(data) for data in self.data if data != "[DONE]"]

    @property
    def done(self) -> bool:
        return bool(self.data) and self.data[-1] == "[DONE]"

    def said(self, part: str = "content", choice: int = 0) -> str:
        """The text of one choice."""
        deltas = [
            c["delta"] for chunk in self.chunks for c in chunk["choices"] if c["index"] == choice
        ]
        return "".join(delta.get(part) or "" for delta in deltas)

    @property
    def finishes(self) -> list[str]:
        found = [c["finish_reason"] for chunk in self.chunks for c in chunk["choices"]]
        return [finish for finish in found if finish is not None]

    @property
    def usage(self) -> Any:
        found = [chunk["usage"] for chunk in self.chunks if chunk.get("usage") is not None]
        return found[-1] if found else None

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


async def read_to_end(line: Line, *, most: int = 1 << 20) -> Answer:
    """Read until FIN, RST or `most` bytes."""
    answer = Answer()
    while len(answer.raw) < most:
        await line.wait_readable()
        try:
            data = line.recv_nowait(65536)
        except trio.WouldBlock:
            continue
        except ConnectionResetError:
            answer.ending = "rst"
            break
        if not data:
            answer.ending = "fin"
            break
        answer.raw += data
        answer.reads.append((trio.current_time(), data))
    return answer


def parse(answer: Answer) -> Answer:
    """Fill in the HTTP of `answer`, whose request h11 need not know."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    request = h11.Request(method="POST", target="/", headers=[("host", "x")])
    client.send(request)
    client.send(h11.EndOfMessage())
    client.receive_data(answer.raw)
    if answer.ending == "fin":
        client.receive_data(b"")
    while True:
        try:
            event = client.next_event()
        except h11.RemoteProtocolError:
            return answer
        if isinstance(event, h11.Response):
            answer.status = event.status_code
            answer.headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            answer.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            answer.whole = True
            return answer
        elif not isinstance(event, h11.InformationalResponse):
            return answer


async def read_until(line: Line, mark: bytes) -> bytes:
    """Read until `mark` has come; it must."""
    data = b""
    while mark not in data:
        await line.wait_readable()
        data += line.recv_nowait(65536)
    return data


async def talk(line: Line, request: bytes, *, most: int = 1 << 20) -> Answer:
    """One request on a connection, which is closed after it."""
    try:
        await line.send_all(request)
        return parse(await read_to_end(line, most=most))
    finally:
        line.close()


@attrs.define
class Site:
    """One simulated provider on a network in memory."""

    provider: Provider
    network: SimNetwork
    name: str = "sim.test"

    async def connect(self) -> PipeConnection:
        found = await self.network.resolve(self.name, 80)
        return await self.network.connect(found[0])

    async def ask(self, body: object, *headers: str, **options: Any) -> Answer:
        return await talk(await self.connect(), http(body, *headers, **options))


@asynccontextmanager
async def open_site(
    *script: Fault,
    plan: Plan | None = None,
    link: Link | None = None,
    back: Link | None = None,
    tls: ssl.SSLContext | None = None,
    idle: float = inf,
    **options: Any,
) -> AsyncIterator[Site]:
    """A provider of its own whose requests all meet `script`; leaves nothing behind."""
    options.setdefault("models", MODELS)
    provider = Provider(dice=Random(1), plan=plan or Plan.always(*script), **options)
    async with trio.open_nursery() as nursery:
        host = Host(provider, tls=tls, link=link or Link(), back=back)
        site = Site(provider, SimNetwork(nursery, {"sim.test": host}, idle=idle))
        yield site
        await site.network.stop()
        left = site.network.statistics()
        assert (left.current_connections, left.current_requests, left.paced_answers) == (0, 0, 0)
        assert provider.requests_in_progress == 0
        assert all(record.ended_at is not None and record.ending for record in provider.log)


def script_header(script: Sequence[object] | dict[str, object]) -> str:
    return f"x-sim-script: {json.dumps(script)}"
