"""`streamnursery models`: what can be asked, and within what limits."""

import argparse
from typing import TYPE_CHECKING, Any

from engine.cli.console import data, note
from engine.cli.parser import PROGRAM, Verbs, add_config, add_verb

if TYPE_CHECKING:
    from engine.config import LoadedConfig

_EXAMPLE = """\
streamnursery models
streamnursery models --json | jq -r .models[].name
"""


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "models",
        run,
        example=_EXAMPLE,
        summary="list the models that are configured, and the simulated ones",
        then=f'{PROGRAM} ask "Why is the sky blue?" -m MODEL',
    )
    parser.add_argument("--json", action="store_true", help="print one object")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """List them; nothing is asked over the network."""
    from engine.cli.explain import load

    loaded = load(args)
    found = [*_configured(loaded), *_simulated(loaded)]
    default = _default(loaded)
    if args.json:
        import json

        data(json.dumps({"models": found, "default_endpoint": default}))
        return 0
    from engine.cli.tables import aligned

    head = ["model", "streams", "served by", "fallback"]
    lines = [[m["name"], str(m["max_streams"]), _where(m), ", ".join(m["fallback"])] for m in found]
    data(aligned([head, *lines]))
    note(_others(default))
    return 0


def _configured(loaded: "LoadedConfig") -> list[dict[str, Any]]:
    config = loaded.config
    return [
        {
            "name": name,
            "routes": [str(route) for route in model.routes]
            or [f"{config.default_endpoint}/{name}" if config.default_endpoint else "nobody"],
            "max_streams": config.default_max_streams
            if model.max_streams is None
            else model.max_streams,
            "fallback": list(model.fallback),
        }
        for name, model in config.models.items()
        if not name.startswith("sim/")
    ]


def _simulated(loaded: "LoadedConfig") -> list[dict[str, Any]]:
    from engine.simulator.profiles import PROFILES

    limits = {name: model.max_streams for name, model in loaded.config.models.items()}
    default = loaded.config.default_max_streams
    found = []
    for name, profile in PROFILES.items():
        own = limits.get(f"sim/{name}")
        entry = {
            "name": f"sim/{name}",
            "routes": [],
            "max_streams": default if own is None else own,
            "fallback": [],
            "ttft_mean": profile.ttft_mean,
            "tokens_per_second": profile.tokens_per_second,
        }
        found.append(entry)
    return found


def _where(model: dict[str, Any]) -> str:
    if not model["name"].startswith("sim/"):
        return ", ".join(model["routes"])
    speed = model["tokens_per_second"]
    pace = f"{model['ttft_mean']:g} s, then {speed:g} tokens/s" if speed else "no delay"
    return f"built-in simulator: {pace}"


def _default(loaded: "LoadedConfig") -> dict[str, Any] | None:
    name = loaded.config.default_endpoint
    if name is None:
        return None
    return {"name": name, "url": str(loaded.config.endpoints[name].url)}


def _others(default: dict[str, Any] | None) -> str:
    if default is not None:
        return f"any other name goes to {default['name']} at {default['url']}"
    return (
        "no endpoint serves other names; set OPENAI_API_KEY or OPENAI_BASE_URL\n"
        f'next: {PROGRAM} ask "Why is the sky blue?" -m sim/fast'
    )
