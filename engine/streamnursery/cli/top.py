"""`streamnursery top`: what a running engine is doing, stream by stream."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from streamnursery.cli.console import can_redraw, data, printable, terminal_width
from streamnursery.cli.exits import CliError, Exit
from streamnursery.cli.parser import PROGRAM, Verbs, add_config, add_verb, number, whole

if TYPE_CHECKING:
    from streamnursery.config import LoadedConfig

_EXAMPLE = """\
streamnursery top /run/user/1000/nursery.sock      where engine.top_socket says it is
streamnursery top --once                           of the configuration in this folder
streamnursery top --json | jq .limits
"""
_SECONDS = 5.0
_SHOWN = 40
"""Streams on a screen."""


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "top",
        run,
        example=_EXAMPLE,
        summary="show the live streams and the limits of a running engine",
        then=f"{PROGRAM} config show --origin",
    )
    parser.add_argument(
        "socket", nargs="?", metavar="SOCKET", help="its engine.top_socket; by default ours"
    )
    parser.add_argument("--once", action="store_true", help="show it once and end")
    parser.add_argument(
        "--metrics-port",
        type=whole(0, 65535),
        metavar="N",
        help="answer Prometheus on this machine at /metrics, until Ctrl-C",
    )
    parser.add_argument("--json", action="store_true", help="print one object and end")
    parser.add_argument(
        "--every", type=number("a number > 0", 0), default=1.0, metavar="S", help="seconds; 1"
    )
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Ask and show until Ctrl-C, or once."""
    from streamnursery.cli.explain import load
    from streamnursery.cli.signals import run_trio

    path = args.socket or socket_of(load(args))

    async def work() -> int:
        if args.metrics_port is not None:
            return await _serve(path, args.metrics_port)
        if args.json or args.once or not can_redraw(sys.stdout):
            told = await ask(path)
            import json

            data(json.dumps(told) if args.json else picture(told))
            return Exit.OK
        return await _watch(path, args.every)

    return run_trio(work)


def socket_of(loaded: "LoadedConfig") -> str:
    """Where the engine of this configuration answers.

    Raises:
        CliError: nowhere.
    """
    path = loaded.config.top_socket
    if path:
        return path
    raise CliError(
        "no engine is named",
        "the configuration has no engine.top_socket, which is where an engine answers",
        f'write top_socket = "/path/of/a.sock" under [engine], then {PROGRAM} top',
    )


async def ask(path: str) -> dict[str, Any]:
    """One snapshot."""
    import json

    body = await _answer(path, b"snapshot\n")
    try:
        told: dict[str, Any] = json.loads(body)
        told["streams"], told["limits"]
    except (ValueError, KeyError, TypeError):
        raise _no_engine() from None
    return told


async def _answer(path: str, question: bytes) -> bytes:
    import trio

    body = bytearray()
    try:
        with trio.fail_after(_SECONDS):
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(question)
                async for part in stream:
                    body += part
    except (OSError, RuntimeError, trio.BrokenResourceError, trio.TooSlowError) as error:
        what = "it did not answer in time" if isinstance(error, trio.TooSlowError) else str(error)
        step = "start an engine with that engine.top_socket, or name the socket of one that runs"
        code = Exit.UNAVAILABLE
        raise CliError("no engine answers there", what, step, code=code) from None
    return bytes(body)


def _no_engine() -> CliError:
    return CliError("what answers there is no engine", code=Exit.UNAVAILABLE)


async def _serve(path: str, port: int) -> int:
    """Answer Prometheus for the engine behind the socket."""
    import trio

    from streamnursery.facade.figures import unpacked
    from streamnursery.telemetry.endpoint import listen_for_scrapes
    from streamnursery.telemetry.prometheus import text_of

    async def text() -> str:
        try:
            found = unpacked(await _answer(path, b"figures\n"))
        except ValueError:
            raise _no_engine() from None
        return await text_of(found)

    await text()  # an engine that is not there is said now, and not to Prometheus
    async with trio.open_nursery() as nursery:
        server = await listen_for_scrapes(nursery, "127.0.0.1", port, text)
        data(f"{server.url} answers for the engine at {path}; Ctrl-C ends it")
        await trio.sleep_forever()
    return Exit.OK


async def _watch(path: str, every: float) -> int:
    import trio
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    first = await ask(path)
    with Live(Text(picture(first)), console=Console(), auto_refresh=False, screen=True) as live:
        while True:
            await trio.sleep(every)
            live.update(Text(picture(await ask(path))), refresh=True)


def picture(told: dict[str, Any]) -> str:
    """A snapshot as text: the limits, then the oldest streams."""
    from streamnursery.cli.tables import aligned

    streams, limits = told["streams"], told["limits"]
    head = (
        f"{told['streams_in_all']} streams, {told['calls']} calls, "
        f"up for {told['uptime']:.0f} s; the oldest first"
    )
    tables = [
        [["limit", "taken", "queued", "last minute", "the next waits for"], *map(_limit, limits)],
        [
            ["request", "model", "tenant", "state", "age", "content", "route", "waits for"],
            *map(_stream, streams[:_SHOWN]),
        ],
    ]
    lines = [head, "", *aligned(tables[0]).splitlines(), "", *aligned(tables[1]).splitlines()]
    if len(streams) > _SHOWN:
        lines.append(f"and {told['streams_in_all'] - _SHOWN} more")
    return "\n".join(printable(line)[: terminal_width()] for line in lines)


def _limit(limit: dict[str, Any]) -> list[str]:
    most = limit["max_streams"]
    rates = ", ".join(f"{r['kind']} {r['used']}/{r['limit']}" for r in limit["rates"])
    taken = str(limit["taken"]) if most is None else f"{limit['taken']}/{most}"
    return [limit["name"], taken, str(limit["queued"]), rates, limit["waits_for"] or ""]


def _stream(stream: dict[str, Any]) -> list[str]:
    since = stream["since_content"]
    return [
        f"{stream['request']}.{stream['attempt']}",
        stream["model"],
        stream["tenant"],
        stream["state"],
        f"{stream['age']:.1f} s",
        f"{stream['content_events']}" + ("" if since is None else f", {since:.1f} s ago"),
        stream["route"] or "",
        stream["waits_for"] or "",
    ]
