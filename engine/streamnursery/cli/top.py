"""`streamnursery top`: what a running engine is doing, stream by stream."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from streamnursery.cli.console import can_redraw, data
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
        "socket",
        nargs="?",
        metavar="SOCKET",
        help="socket of the engine (default: engine.top_socket of the configuration)",
    )
    parser.add_argument("--once", action="store_true", help="print it once")
    parser.add_argument(
        "--metrics-port",
        type=whole(0, 65535),
        metavar="N",
        help="answer Prometheus on this machine at /metrics, until Ctrl-C",
    )
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument(
        "--every",
        type=number("a number > 0", 0),
        default=1.0,
        metavar="S",
        help="seconds between two looks (default: 1)",
    )
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Ask and show until `q` or Ctrl-C, or once."""
    from streamnursery.cli.explain import load
    from streamnursery.cli.signals import run_trio
    from streamnursery.cli.top_screen import picture, watch

    path = args.socket or socket_of(load(args))

    async def work() -> int:
        if args.metrics_port is not None:
            return await _serve(path, args.metrics_port)
        if args.json or args.once or not can_redraw(sys.stdout):
            told = await ask(path)
            import json

            data(json.dumps(told) if args.json else picture(told))
            return Exit.OK
        return await watch(lambda: ask(path), args.every)

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
        told["streams"], told["limits"], told["totals"]
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
