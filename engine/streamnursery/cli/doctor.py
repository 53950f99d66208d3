"""`streamnursery doctor`: what is installed, configured and within reach, and what to do."""

import argparse
from typing import TYPE_CHECKING

from streamnursery.cli.console import data, note
from streamnursery.cli.exits import Exit
from streamnursery.cli.parser import PROGRAM, Verbs, add_config, add_verb

if TYPE_CHECKING:
    from streamnursery.cli.findings import Finding
    from streamnursery.values.settings import EngineConfig

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
Exit code 1 when something has to be fixed."""
    parser.add_argument("--json", action="store_true", help="print one object")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Look, and print every finding with what to do about it."""
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

    served: dict[str, tuple[str, ...]] = {}

    async def work() -> int:
        found.extend(await reach_findings(loaded.config, served))
        found.extend(await session_findings(loaded.config))
        return 0

    return run_trio(work) or _tell(args, found, _example_model(loaded.config, served))


def _example_model(config: "EngineConfig", served: dict[str, tuple[str, ...]]) -> str:
    """What to put behind `ask` so that it works: nothing where a model is found without."""
    from streamnursery.config.providers import default_model

    if not config.endpoints:
        return " -m sim/fast"
    if config.models or config.default_endpoint is None:
        return ""
    models = served.get(config.default_endpoint, ())
    endpoint = config.endpoints[config.default_endpoint]
    return f" -m {models[0]}" if len(models) > 1 and not default_model(endpoint) else ""


def _tell(args: argparse.Namespace, found: "list[Finding]", model: str = "") -> int:
    problems = sum(finding.level == "problem" for finding in found)
    if args.json:
        import json

        import attrs

        data(json.dumps({"ok": not problems, "findings": [attrs.asdict(f) for f in found]}))
    else:
        data("\n".join(finding.shown() for finding in found))
        _conclude(problems, model)
    return Exit.SOME_FAILED if problems else Exit.OK


def _conclude(problems: int, model: str) -> None:
    if problems:
        note(f"{problems} to fix; next: {PROGRAM} doctor again")
    else:
        note(f'nothing to fix; next: {PROGRAM} ask "Why is the sky blue?"{model}')
