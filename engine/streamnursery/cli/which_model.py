"""Which models a question goes to, checked before anything is sent."""

from typing import TYPE_CHECKING

from streamnursery.cli.exits import CliError
from streamnursery.cli.explain import WITHOUT_KEY
from streamnursery.cli.parser import PROGRAM, suggestion
from streamnursery.config.providers import default_model
from streamnursery.core.routing.provider_names import provider_route

if TYPE_CHECKING:
    from streamnursery.config import LoadedConfig
    from streamnursery.values.settings import EngineConfig

_SET_A_KEY = "export OPENAI_API_KEY=..., or without a key: "


def chosen_models(asked: list[str] | None, loaded: "LoadedConfig") -> list[str]:
    """The models that were asked for, or the one that is meant without saying.

    Raises:
        CliError: no endpoint serves one of them.
    """
    models = list(dict.fromkeys(asked or [_default(loaded)]))
    for model in models:
        _check(model, loaded.config)
    return models


def _default(loaded: "LoadedConfig") -> str:
    config = loaded.config
    if config.default_model:
        return config.default_model
    for model in config.models:
        return model
    name = config.default_endpoint
    if name is not None and (model := default_model(config.endpoints[name])):
        return model
    if name is not None:
        return only_model(config, name, f'{PROGRAM} ask "..."')
    for name, endpoint in config.endpoints.items():
        if model := default_model(endpoint):
            return f"{name}/{model}"
    why = _nothing_found(loaded)
    raise CliError("no key was found, so no provider can be asked", why, _SET_A_KEY + WITHOUT_KEY)


def only_model(config: "EngineConfig", name: str, command: str) -> str:
    """The model that the endpoint `name` serves, where it says that it serves one.

    Raises:
        CliError: it serves several, or does not say; `command` is what to type again.
    """
    from streamnursery.cli.served_models import listed, served_models

    models = served_models(config, name)
    if len(models) == 1:
        return models[0]
    where = config.endpoints[name].url
    why = f"the endpoint {name} ({where}) does not say which it serves"
    if models:
        why = f"the endpoint {name} ({where}) serves {listed(models)}"
    raise CliError("no model was named", why, f"{command} -m {models[0] if models else 'MODEL'}")


def _nothing_found(loaded: "LoadedConfig") -> str:
    file = f"{loaded.file} names no model" if loaded.file else "there is no configuration file"
    return f"OPENAI_API_KEY and OPENAI_BASE_URL are not set, and {file}"


def _check(model: str, config: "EngineConfig") -> None:
    if not model.strip():
        raise CliError("a model's name is empty", "", f"{PROGRAM} models")
    if model.startswith("sim/"):
        _check_simulated(model)
        return
    settings = config.models.get(model)
    if config.default_endpoint is not None or (settings is not None and settings.routes):
        return
    if settings is None and provider_route(model, config) is not None:
        return
    hint = suggestion(model, [*config.models, *_simulated()])
    if config.endpoints:
        names = ", ".join(config.endpoints)
        why = f"there is {names}, and nothing says that it serves this model"
        route = (
            f'[models."{model}"] with routes = [{{ endpoint = "{next(iter(config.endpoints))}" }}]'
        )
        step = f"write {route} into streamnursery.toml, or: {WITHOUT_KEY}"
    else:
        why = "OPENAI_API_KEY and OPENAI_BASE_URL are not set, and no configuration serves it"
        step = _SET_A_KEY + WITHOUT_KEY
    msg = f"no endpoint serves the model {model}"
    raise CliError(msg, "\n".join(filter(None, [hint, why])), step)


def _check_simulated(model: str) -> None:
    from streamnursery.simulator.grammar import ScriptError, split_model

    try:
        name, _ = split_model(model)
    except ScriptError as error:
        msg = f"the script of {model} cannot be read"
        raise CliError(msg, "\n".join(error.problems), WITHOUT_KEY) from None
    known = _simulated()
    if f"sim/{name}" not in known:
        hint = suggestion(f"sim/{name}", known) or f"there is {', '.join(known)}"
        msg = f"the simulator has no model {model}"
        raise CliError(msg, hint, f"{PROGRAM} models")


def _simulated() -> list[str]:
    from streamnursery.simulator.profiles import PROFILES

    return [f"sim/{name}" for name in PROFILES]
