"""One client in one case: its own provider and process, and what came of it.

Rule 1: the clock of a case starts with the client's first request: what it takes to be imported, on
        a busy machine too, is not the provider's silence.
Rule 2: a client knows nothing about its case but how many pieces to read.
"""

import json
import random
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import trio

from streamnursery.simulator import LoopbackServer, Profile, Provider, serve_loopback
from streamnursery.simulator.log import RequestRecord
from streamnursery.testing.grade_clients import surroundings
from streamnursery.testing.grade_menu import Case

_MODEL = "graded"
_PROMPT = "Tell me about streams."
_PACE = Profile(0.05, 0.05, 200, (24, 24))
_SETTLE = 1.0
"""Seconds in which a provider must have noticed that the client left."""
STARTING = 120.0
"""Seconds for a client to ask; some take many to be imported."""
_MAX_OUTPUT = 1024 * 1024


@attrs.frozen
class Confrontation:
    """What both sides have to say."""

    said: Mapping[str, Any] | None
    """By the client; None if it had not ended in time."""
    log: tuple[RequestRecord, ...]
    seconds: float
    """From the first request, or from the start of the process if there was none."""
    leaked: int
    """Answers that were still under way a second after the client was done."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Of the programs that the client is made of, as it says itself."""
        given = self.said.get("versions") if self.said is not None else None
        if not isinstance(given, dict):
            return {}
        return {str(name): str(version) for name, version in given.items()}


async def confront(
    command: Sequence[str], case: Case, *, seed: int = 1, starting: float = STARTING
) -> Confrontation:
    """Run the command in the case."""
    provider = Provider(dice=random.Random(seed), models={_MODEL: _PACE}, plan=case.plan)
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        begun = trio.current_time()
        said, leaked = await _run(command, case, provider, server, starting)
        ended = trio.current_time() - (_SETTLE if leaked else 0.0)
        first = next((record.received_at for record in provider.log), begun)
        found = Confrontation(said, tuple(provider.log), round(ended - first, 3), leaked)
        await server.stop()
        nursery.cancel_scope.cancel()
    return found


async def _run(
    command: Sequence[str], case: Case, provider: Provider, server: LoopbackServer, starting: float
) -> tuple[dict[str, Any] | None, int]:
    """What the client said, None for a hang; how many answers were then left under way."""
    try:
        process = await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(case, server),
        )
    except OSError as error:
        return {"outcome": "crash", "error": f"{command[0]}: {error.strerror}"}, 0
    assert process.stdin is not None
    assert process.stdout is not None
    said: list[dict[str, Any]] = []
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_limit, case, provider, starting, nursery.cancel_scope)
            said.append(await _read(process.stdout, process))
            nursery.cancel_scope.cancel()
        if not said:
            return None, 0
        return said[0], await _left_under_way(server)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


async def _limit(case: Case, provider: Provider, starting: float, scope: trio.CancelScope) -> None:
    """End it when its time is over."""
    with trio.move_on_after(starting):
        while not len(provider.log):  # noqa: ASYNC110 - a server has no event for it
            await trio.sleep(0.02)
    if len(provider.log):
        await trio.sleep_until(provider.log[0].received_at + case.limit)
    scope.cancel()


async def _read(output: trio.abc.ReceiveStream, process: trio.Process) -> dict[str, Any]:
    """The line of the protocol, or what a program says that does not speak it."""
    read = bytearray()
    while len(read) < _MAX_OUTPUT:
        more = await output.receive_some(65536)
        if not more:
            break
        read += more
        if (said := _protocol(bytes(read))) is not None:
            return said
    return await _plain(bytes(read), process)


def _protocol(output: bytes) -> dict[str, Any] | None:
    """The line of the protocol of `streamnursery.testing.clients`, if it is there yet."""
    for line in output.split(b"\n")[:-1]:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("outcome") in ("complete", "error", "left"):
            return said
    return None


async def _plain(output: bytes, process: trio.Process) -> dict[str, Any]:
    """The text of a program, or that it failed; what it had printed by then is not judged."""
    with trio.move_on_after(5):
        code = await process.wait()
        if code == 0:
            text = output.decode(errors="replace")
            return {"outcome": "complete", "text": text.removesuffix("\n")}
        if code > 0:
            return {"outcome": "error", "error": f"exit code {code}", "typed": True}
        return {"outcome": "crash", "error": f"signal {-code}"}
    return {"outcome": "crash", "error": "it closed its output and did not end"}


async def _left_under_way(server: LoopbackServer) -> int:
    with trio.move_on_after(_SETTLE):
        while server.statistics().current_requests:  # noqa: ASYNC110 - a server has no event for it
            await trio.sleep(0.02)
    return server.statistics().current_requests


def _environment(case: Case, server: LoopbackServer) -> dict[str, str]:
    return {
        **surroundings(),
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": "graded",
        "ANTHROPIC_BASE_URL": server.url.removesuffix("/v1"),
        "ANTHROPIC_API_KEY": "graded",
        "GOOGLE_GEMINI_BASE_URL": server.url.removesuffix("/v1"),
        "GEMINI_API_KEY": "graded",
        "GRADE_MODEL": _MODEL,
        "GRADE_PROMPT": _PROMPT,
        "GRADE_LEAVE_AFTER": "" if case.leave_after is None else str(case.leave_after),
    }
