"""`streamnursery doctor`: what is installed, configured and within reach, and what to do."""

import argparse
from typing import TYPE_CHECKING

from streamnursery.cli.console import data, note
from streamnursery.cli.exits import Exit
from streamnursery.cli.parser import PROGRAM, Verbs, add_config, add_verb

if TYPE_CHECKING:
    from streamnursery.cli.findings import Finding

_EXAMPLE = """\
streamnursery doctor
streamnursery doctor --json | jq '.findings[] | select(.level != "ok")'
"""


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "doctor",
        run,
        example=_EXAMPLE,
        summary="look at versions, keys, proxies, certificates, endpoints and the clock",
        then=f"{PROGRAM} config show --origin",
    )
    parser.description = f"""{parser.description}

Each endpoint is asked once for its list of models, with its key; keys are never printed. Those
that speak the Responses API are also asked for a WebSocket and one ping.
Exit code 1 when something has to be mended."""
    parser.add_argument("--json", action="store_true", help="print one object")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Look, and tell every finding with what to do about it."""
    from streamnursery.cli.findings import Finding, local_findings
    from streamnursery.config import load_config
    from streamnursery.values.errors import ConfigError

    try:
        loaded = load_config(args.config)
    except ConfigError as error:
        found = local_findings(None)
        todo = f"fix it, then {PROGRAM} config check"
        found += [Finding("configuration", "problem", p, todo) for p in error.problems]
        return _tell(args, found)
    found = local_findings(loaded)

    from streamnursery.cli.endpoint_check import reach_findings
    from streamnursery.cli.session_check import session_findings
    from streamnursery.cli.signals import run_trio

    async def work() -> int:
        found.extend(await reach_findings(loaded.config))
        found.extend(await session_findings(loaded.config))
        return 0

    return run_trio(work) or _tell(args, found)


def _tell(args: argparse.Namespace, found: "list[Finding]") -> int:
    problems = sum(finding.level == "problem" for finding in found)
    if args.json:
        import json

        import attrs

        data(json.dumps({"ok": not problems, "findings": [attrs.asdict(f) for f in found]}))
    else:
        data("\n".join(finding.shown() for finding in found))
        _conclude(problems, any(finding.check == "reach" for finding in found))
    return Exit.SOME_FAILED if problems else Exit.OK


def _conclude(problems: int, endpoints: bool) -> None:
    if problems:
        note(f"{problems} to fix; next: {PROGRAM} doctor again")
    else:
        question = f'{PROGRAM} ask "Why is the sky blue?"'
        note(f"nothing to fix; next: {question}{'' if endpoints else ' -m sim/fast'}")
