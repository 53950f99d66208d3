"""Errors of the engine as what, why and what to type next."""

import argparse
import json
from typing import TYPE_CHECKING

from streamnursery.cli.exits import CliError, exit_code
from streamnursery.cli.parser import PROGRAM

if TYPE_CHECKING:
    from streamnursery.config import LoadedConfig
    from streamnursery.values.errors import ConfigError, EngineError
    from streamnursery.values.settings import EngineConfig

WITHOUT_KEY = f'{PROGRAM} ask "Why is the sky blue?" -m sim/fast'
_MAX_WORDS = 300
"""Characters of a provider's own words that are shown."""


def load(args: argparse.Namespace) -> "LoadedConfig":
    """The configuration, or every mistake in it as a `CliError`."""
    from streamnursery.config import load_config
    from streamnursery.values.errors import ConfigError

    try:
        return load_config(args.config)
    except ConfigError as error:
        raise config_mistakes(error) from None


def config_mistakes(error: "ConfigError") -> CliError:
    count = len(error.problems)
    what = "one mistake" if count == 1 else f"{count} mistakes"
    return CliError(
        f"{what} in the configuration",
        "\n".join(error.problems),
        f"fix that, then {PROGRAM} config check; every key: {PROGRAM} config init -",
    )


def explained(error: "EngineError", config: "EngineConfig | None" = None) -> CliError:
    """`error` for the terminal. Keys of `config` are masked in what the provider said."""
    why = [_words_of_provider(error, config)]
    why += [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    if error.request_id is not None:
        why.append(f"request id {error.request_id}")
    return CliError(
        _for_shell(str(error)),
        "\n".join(filter(None, why)),
        _next_step(error),
        code=exit_code(error),
    )


_IN_PYTHON = {"with timeout= or deadline=": "with --timeout"}
"""Arguments that messages name, and their flags."""


def _for_shell(text: str) -> str:
    for argument, flag in _IN_PYTHON.items():
        text = text.replace(argument, flag)
    return text


def _next_step(error: "EngineError") -> str:
    from streamnursery.core.recovery.error_table import policy_of
    from streamnursery.values import errors

    if isinstance(error, errors.RateLimitedError) and error.retry_after:
        return f"wait {error.retry_after:.0f} s and run it again"
    found = policy_of(error).command
    if isinstance(error, errors.ConfigError):
        found = f"{found}, or without a key: {WITHOUT_KEY}"
    return found or ("run it again" if error.retryable else f"{PROGRAM} doctor")


def _words_of_provider(error: "EngineError", config: "EngineConfig | None") -> str:
    if not error.body or 'it says: "' in str(error):
        return ""
    text = " ".join(_message(error.body).split())
    if config is not None:
        from streamnursery.values.secret import scrubbed

        text = scrubbed(text, _secrets(config))
    shown = text if len(text) <= _MAX_WORDS else text[:_MAX_WORDS] + "..."
    return f"the provider says: {shown}"


def _message(body: str) -> str:
    """What a person wants to read of an error object; the whole of anything else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return body
    error = found.get("error", found) if isinstance(found, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else body


def _secrets(config: "EngineConfig") -> list[str]:
    from streamnursery.values.secret import Secret

    held = [
        value
        for endpoint in config.endpoints.values()
        for value in (endpoint.key, *endpoint.headers.values())
    ]
    return [value.reveal() for value in held if isinstance(value, Secret)]
