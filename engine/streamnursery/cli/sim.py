"""`streamnursery sim`: the simulated provider as a server for any OpenAI client."""

import argparse
import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from streamnursery.cli.console import data, is_terminal, note
from streamnursery.cli.exits import CliError
from streamnursery.cli.parser import PROGRAM, Verbs, add_verb, number, whole

if TYPE_CHECKING:
    import ssl

    from streamnursery.simulator import LoopbackServer, Profile, Provider

T = TypeVar("T")

_EXAMPLE = """\
streamnursery sim                                       a provider at http://127.0.0.1:8400/v1
streamnursery sim --speed 10 --script faults.json       ten times as fast, and misbehaving
streamnursery sim --tls --http2                         over TLS, HTTP/2 or 1.1 as clients choose
OPENAI_BASE_URL=http://127.0.0.1:8400/v1 streamnursery ask "Hi" -m gpt-4.1
"""
_FILES = """\
files:
  --profile  {"my-model": {"ttft_mean": 0.5, "ttft_p95": 0.9, "tokens_per_second": 60}}
  --script   [{"cut": 3}] for every request, or
             {"rules": [{"when": {"every": 5}, "script": [{"status": {"code": 503}}]}]}
"""
_SNIPPET = """\
from openai import OpenAI

client = OpenAI(base_url="{url}", api_key="any")
stream = client.chat.completions.create(
    model="gpt-4.1", messages=[{{"role": "user", "content": "Hi"}}], stream=True
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
"""
_MAX_FILE = 1024 * 1024


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "sim",
        run,
        example=_EXAMPLE,
        summary="serve a simulated provider on this machine",
        then=f'OPENAI_BASE_URL=http://127.0.0.1:8400/v1 {PROGRAM} ask "Hi" -m gpt-4.1',
    )
    parser.epilog = f"{_FILES}\n{parser.epilog}"
    add = parser.add_argument
    add(
        "--port",
        type=whole(0, 65535),
        default=8400,
        metavar="N",
        help="port (default: 8400; 0 takes a free one)",
    )
    add(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: 127.0.0.1)",
    )
    add(
        "--profile",
        metavar="FILE",
        help="JSON with models and their speed, beside the built-in ones",
    )
    add("--script", metavar="FILE", help="JSON with the faults, and when they happen")
    add(
        "--speed",
        type=number("a number > 0", 0),
        default=1.0,
        metavar="X",
        help="factor on the speed of all models (default: 1)",
    )
    add("--seed", type=whole(0), default=0, metavar="N", help="random seed (default: 0)")
    add("--tls", action="store_true", help="https with a certificate made for this run")
    add(
        "--http2",
        action="store_true",
        help="offer HTTP/2; without --tls to clients with prior knowledge",
    )
    add("--page", action="store_true", help="show requests at / beyond this machine too")
    add("--json", action="store_true", help="print one object with the url")
    # How the demo's own simulator ends when its parent does, however that ends.
    add("--until-eof", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from streamnursery.cli.signals import run_trio

    provider = _provider(args)
    with contextlib.ExitStack() as files:
        tls, ca_file = None, None
        if args.tls:
            from streamnursery.cli.certificates import server_certificate

            tls, ca_file = files.enter_context(server_certificate(args.host, http2=args.http2))

        async def work() -> int:
            await _serve(args, provider, tls, ca_file)
            return 0

        code = run_trio(work)
    if not args.until_eof:
        note(f"stopped; {len(provider.log) + provider.log.dropped} requests were answered")
    return code


async def _serve(
    args: argparse.Namespace,
    provider: "Provider",
    tls: "ssl.SSLContext | None",
    ca_file: str | None,
) -> None:
    import trio

    from streamnursery.simulator import serve_loopback
    from streamnursery.transport.single_errors import bare_errors

    with bare_errors():
        async with trio.open_nursery() as nursery:
            try:
                server = await serve_loopback(
                    provider,
                    nursery=nursery,
                    host=args.host,
                    port=args.port,
                    tls=tls,
                    http2=args.http2,
                    page=args.page or _is_loopback(args.host),
                )
            except OSError as error:
                raise _cannot_listen(args, error) from None
            _introduce(args, server, provider, ca_file)
            if args.until_eof:
                await _eof()
                nursery.cancel_scope.cancel()


def _provider(args: argparse.Namespace) -> "Provider":
    from random import Random

    from streamnursery.simulator import PROFILES, Plan, Provider, parse_plan
    from streamnursery.simulator.profiles import parse_profiles

    given: dict[str, Profile] = _read(args.profile, parse_profiles) if args.profile else {}
    plan: Plan = _read(args.script, parse_plan) if args.script else Plan()
    models = {**PROFILES, **given}
    return Provider(dice=Random(args.seed), models=models, plan=plan, speed=args.speed)


def _read(path: str, parse: Callable[[bytes], T]) -> T:
    from streamnursery.simulator import ScriptError

    step = f"{PROGRAM} sim --help shows the form"
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        msg = f"{path} cannot be read"
        raise CliError(msg, why, "check the path") from None
    if len(text) > _MAX_FILE:
        msg = f"{path} is too long"
        raise CliError(msg, f"more than {_MAX_FILE} bytes", step)
    try:
        return parse(text)
    except ScriptError as error:
        msg = f"{path} cannot be used"
        raise CliError(msg, "\n".join(error.problems), step) from None


def _cannot_listen(args: argparse.Namespace, error: OSError) -> CliError:
    why = error.strerror or str(error)
    step = f"{PROGRAM} sim --port 0 takes a free port"
    return CliError(f"cannot listen at {args.host} port {args.port}", why, step)


def _introduce(
    args: argparse.Namespace, server: "LoopbackServer", provider: "Provider", ca_file: str | None
) -> None:
    import json

    if args.json:
        data(json.dumps({"url": server.url, "ca_file": ca_file, "models": list(provider.models)}))
        return
    data(server.url)
    models = ", ".join(provider.models)
    speed = "" if args.speed == 1 else f", {args.speed:g} times as fast"
    note(f"simulated provider{speed}; models: {models}")
    if args.page or _is_loopback(args.host):
        note(f"its requests: {server.url.removesuffix('v1')}")
    if not _is_loopback(server.host):
        note("anybody who can reach this machine can use it")
    if ca_file is not None:
        note(f"certificate authority: {ca_file} (until this ends)")
        note(f"export SSL_CERT_FILE={ca_file} makes most clients trust it")
    note(f"\n{_SNIPPET.format(url=server.url)}")
    if is_terminal(sys.stdin):
        note("Ctrl-C stops it")


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _eof() -> None:
    """Until stdin ends: until the parent process has gone."""
    import os

    import trio

    while True:
        await trio.lowlevel.wait_readable(0)
        if not os.read(0, 4096):
            return
