"""The flags of `bench`, in groups."""

import json
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

from streamnursery.cli.parser import number, seconds, whole

_share = number("a share from 0 to 1", 0, 1, zero=True)


def json_object(text: str) -> dict[str, Any]:
    """An argument type: an object of JSON."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ArgumentTypeError('must be an object of JSON: {"ignore_eos": true}')
    return found


def add_target(group: Any) -> None:
    add = group.add_argument
    add(
        "-m",
        "--model",
        action="append",
        metavar="NAME[=WEIGHT]",
        help="model to ask; may be repeated",
    )
    add(
        "--url",
        action="append",
        metavar="[NAME=]URL",
        help="OpenAI-compatible server; may be repeated",
    )
    add("--key-env", metavar="VARIABLE", help="environment variable with the key for --url")
    add("--requests-file", metavar="FILE", help="JSONL of prompts or request bodies")
    add(
        "--input-tokens",
        default="64",
        metavar="N",
        help="length of a prompt (default: 64); or 200+-50, or 100..400",
    )
    add(
        "--output-tokens",
        default="128",
        metavar="N",
        help="limit of an answer (default: 128); or as above, or any",
    )
    add(
        "--extra",
        type=json_object,
        metavar="JSON",
        help='further fields of each body, such as {"ignore_eos": true}',
    )
    add(
        "--preset",
        choices=["count-to-100"],
        help="20 requests, one after the other, of up to 500 tokens",
    )


def add_load(group: Any) -> None:
    add = group.add_argument
    add(
        "--concurrency",
        metavar="N",
        help="closed loop of N users (default: 8); or 1,2,4, or 1..64, or 1..64x7",
    )
    add("--rate", metavar="R", help="open loop, a request every 1/R s; several as above")
    add(
        "--poisson",
        metavar="R",
        help="open loop, R requests/s as a Poisson process; several as above",
    )
    add("--ramp", metavar="A..B", help="open loop, from A/s to B/s over the duration")
    add(
        "--replay", metavar="FILE", help='JSONL with "at", the seconds from the start, in each line'
    )
    add(
        "--sweep",
        type=whole(1, 100),
        metavar="N",
        help="N rates between one request at a time and the most of --concurrency (default: 256)",
    )
    add("--adaptive", action="store_true", help="find the highest load that keeps the SLO")
    _add_ends(add)


def _add_ends(add: Callable[..., object]) -> None:
    add(
        "--duration",
        type=seconds,
        metavar="S",
        help="seconds of each load (default: 30, unless --requests is given)",
    )
    add("--requests", type=whole(1), metavar="N", help="requests of each load")
    add(
        "--warmup",
        type=number("seconds >= 0", 0, zero=True),
        default=0.0,
        metavar="S",
        help="seconds not counted (default: 0)",
    )
    add(
        "--grace",
        type=seconds,
        default=60.0,
        metavar="S",
        help="seconds to wait for the last answers (default: 60)",
    )
    add("--timeout", type=seconds, metavar="S", help="limit of each request, in seconds")
    add(
        "--repetitions",
        type=whole(1, 100),
        default=1,
        metavar="N",
        help="runs of each load (default: 1)",
    )
    add(
        "--workers",
        type=whole(1, 64),
        default=1,
        metavar="N",
        help="processes that share the load (default: 1)",
    )
    _add_behaviour(add)


def _add_behaviour(add: Callable[..., object]) -> None:
    """What the client and its users do."""
    add(
        "--max-streams",
        type=whole(1, 100_000),
        metavar="N",
        help="limit of the client's own streams (default: none)",
    )
    add(
        "--retries",
        type=whole(0, 20),
        default=0,
        metavar="N",
        help="retries of a failed request (default: 0)",
    )
    add(
        "--cancel-rate",
        type=_share,
        default=0.0,
        metavar="X",
        help="share of requests left half-way (default: 0)",
    )
    add(
        "--slow-rate",
        type=_share,
        default=0.0,
        metavar="X",
        help="share of requests read slowly (default: 0)",
    )
    add("--seed", type=whole(0), default=0, metavar="N", help="random seed (default: 0)")


def add_verdict(group: Any) -> None:
    add = group.add_argument
    add("--slo", metavar="EXPR", help='targets for goodput, such as "ttft.p99<1s,itl.p95<80ms"')
    add("--check", metavar="EXPR", help="targets as above; exit code 1 where one is missed")
    add("--json", action="store_true", help="print one object with every figure")
    add("--save", metavar="FILE", help="write that object to a file")
    add("--jsonl", metavar="FILE", help="write a line of JSON for each request")
    add("--html", metavar="FILE", help="write a report as one page")
    add("--compare", nargs=2, metavar="FILE", help="show two saved results side by side")
    add(
        "--metrics-port",
        type=whole(0, 65535),
        metavar="N",
        help="answer Prometheus on this machine at /metrics",
    )
    add("--no-calibration", action="store_true", help="do not measure the client itself")
    add("-q", "--quiet", action="store_true", help="print only errors on stderr")
