"""Endpoints with several keys: each key is a separate endpoint, beside the one that was written.

What limits, breakers and learned rates go by is an endpoint, and an account is a key: so each key
has all of them for itself, and what holds between routes to two accounts holds between keys too.
"""

import re

import attrs

from streamnursery.values.errors import ConfigError
from streamnursery.values.secret import Secret
from streamnursery.values.session import EndpointHeartbeat
from streamnursery.values.settings import Endpoint, EngineConfig, Key

_KEY = re.compile(r"#\d+$")


def base_name(endpoint: str) -> str:
    """The endpoint that was written: `openai` of `openai#2`."""
    return _KEY.sub("", endpoint)


def names_of(endpoint: Endpoint) -> tuple[str, ...]:
    """One for each of its keys: `openai`, `openai#2`, ..."""
    more = (f"{endpoint.name}#{number}" for number in range(2, len(endpoint.more_keys) + 2))
    return (endpoint.name, *more)


def alone(endpoint: Endpoint, name: str, key: Key | None) -> Endpoint:
    """`endpoint` under another name, with one key; it is not asked a second time how it is."""
    return attrs.evolve(
        endpoint,
        name=name,
        key=key if isinstance(key, Secret) else None,
        token_command=key if isinstance(key, tuple) else (),
        more_keys=(),
        heartbeat=EndpointHeartbeat(),
    )


def with_keys(config: EngineConfig) -> EngineConfig:
    """`config` with an endpoint for each key. Done to one that has them already, nothing changes.

    Raises:
        ConfigError: another endpoint has such a name.
    """
    found = dict(config.endpoints)
    for endpoint in config.endpoints.values():
        for name, key in zip(names_of(endpoint)[1:], endpoint.more_keys, strict=True):
            one = alone(endpoint, name, key)
            if found.setdefault(name, one) != one:
                what = f"this name stands for a key of {endpoint.name!r}; choose another"
                msg = f"endpoints.{name}: {what}"
                raise ConfigError(msg)
    return config if len(found) == len(config.endpoints) else attrs.evolve(config, endpoints=found)
