"""`streamnursery models`: what can be asked, and within what limits."""

import argparse
from typing import TYPE_CHECKING, Any

from streamnursery.cli.console import data, note
from streamnursery.cli.parser import PROGRAM, Verbs, add_config, add_verb, tokens

if TYPE_CHECKING:
    from streamnursery.config import LoadedConfig
    from streamnursery.values.prices import Price
    from streamnursery.values.settings import EngineConfig

_EXAMPLE = """\
streamnursery models
streamnursery models --json | jq -r .models[].name
streamnursery models --cost 1M                            cheapest first
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
    parser.add_argument(
        "--cost",
        type=tokens,
        metavar="TOKENS",
        help="cost of so many tokens at each model, such as 500k or 1M; cheapest first",
    )
    parser.add_argument(
        "--live",
        nargs="?",
        const="",
        metavar="SOCKET",
        help="add their state in a running engine (default: at engine.top_socket)",
    )
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """List them; nothing is asked over the network."""
    from streamnursery.cli.explain import load

    loaded = load(args)
    if args.cost is not None:
        return _cost(loaded, args)
    found = [*_configured(loaded), *_simulated(loaded)]
    default = _default(loaded)
    if args.live is not None:
        _add_health(found, loaded, args.live)
    if args.json:
        import json

        for model in found:
            del model["costs"]
        spellings = {
            name: dict(names.spellings) for name, names in loaded.config.provider_names.items()
        }
        told = {"models": found, "default_endpoint": default, "spellings": spellings}
        data(json.dumps(told))
        return 0
    from streamnursery.cli.tables import fitted

    head = ["model", "streams", "USD per 1M in / out", "served by", "fallback"]
    lines = [
        [m["name"], str(m["max_streams"]), m["costs"], _where(m), ", ".join(m["fallback"])]
        for m in found
    ]
    if args.live is not None:
        from streamnursery.cli.model_health import health_text

        head.append("now")
        for line, model in zip(lines, found, strict=True):
            line.append(health_text(model["live"]))
    data(fitted([head, *lines]))
    note(_others(default))
    for spelling in _spellings(loaded):
        note(spelling)
    return 0


def _add_health(found: list[dict[str, Any]], loaded: "LoadedConfig", socket: str) -> None:
    from streamnursery.cli.model_health import health
    from streamnursery.cli.signals import run_trio
    from streamnursery.cli.top import ask, socket_of

    told: list[dict[str, Any]] = []

    async def work() -> int:
        told.append(await ask(socket or socket_of(loaded)))
        return 0

    run_trio(work)
    for model in found:
        model["live"] = health(told[0], model) if told else None


def _cost(loaded: "LoadedConfig", args: argparse.Namespace) -> int:
    from streamnursery.cli.model_prices import costs, costs_text
    from streamnursery.values.models import KNOWN

    config = loaded.config
    own = [name for name in config.models if not name.startswith("sim/")]
    found = costs([(name, _price(loaded, name)) for name in own or KNOWN], args.cost)
    if args.json:
        import json

        from streamnursery.values.money import dollars

        for model in found:
            for side in ("input", "output"):
                model[side] = None if model[side] is None else dollars(model[side])
        data(json.dumps({"tokens": args.cost, "currency": "USD", "models": found}))
        return 0
    data(costs_text(found, args.cost))
    if not own:
        note("no model is configured; these are the ones whose price is built in")
    return 0


def _price(loaded: "LoadedConfig", name: str) -> "Price | None":
    """What the model costs today."""
    import datetime

    from streamnursery.cli.model_prices import price_of

    settings = loaded.config.models.get(name)
    route = settings.routes[0] if settings is not None and settings.routes else None
    today = datetime.datetime.now(datetime.UTC).date()
    return price_of(loaded.config)(name, route, today)


def _configured(loaded: "LoadedConfig") -> list[dict[str, Any]]:
    config = loaded.config
    return [
        {
            "name": name,
            "routes": [str(route) for route in model.routes] or [_served(name, config)],
            "max_streams": config.default_max_streams
            if model.max_streams is None
            else model.max_streams,
            "fallback": list(model.fallback),
            "quality": model.quality,
            "context": model.context,
            **_priced(_price(loaded, name)),
        }
        for name, model in config.models.items()
        if not name.startswith("sim/")
    ]


def _served(name: str, config: "EngineConfig") -> str:
    """Where a model without routes of its own is asked."""
    from streamnursery.core.routing.provider_names import provider_route

    found = provider_route(name, config)
    if found is not None:
        return str(found)
    return f"{config.default_endpoint}/{name}" if config.default_endpoint else "no endpoint"


def _simulated(loaded: "LoadedConfig") -> list[dict[str, Any]]:
    from streamnursery.simulator.profiles import PROFILES

    limits = {name: model.max_streams for name, model in loaded.config.models.items()}
    default = loaded.config.default_max_streams
    found = []
    for name, profile in PROFILES.items():
        own = limits.get(f"sim/{name}")
        entry: dict[str, Any] = {
            "name": f"sim/{name}",
            "routes": [],
            "max_streams": default if own is None else own,
            "fallback": [],
            "ttft_mean": profile.ttft_mean,
            "tokens_per_second": profile.tokens_per_second,
            **_priced(_price(loaded, f"sim/{name}")),
        }
        found.append(entry)
    return found


def _priced(price: "Price | None") -> dict[str, Any]:
    from streamnursery.cli.model_prices import price_fields, price_text

    return {"price": price_fields(price), "costs": price_text(price)}


def _spellings(loaded: "LoadedConfig") -> list[str]:
    """Names that are sent as the provider's API writes them."""
    return [
        f"{other} is asked as {endpoint}/{own}"
        for endpoint, names in loaded.config.provider_names.items()
        for other, own in names.spellings.items()
    ]


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
