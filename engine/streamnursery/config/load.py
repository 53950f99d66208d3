"""The order of the sources, and what came from where.

A setting is taken from the first of: a flag, the engine's own environment variable, the
configuration file, a provider's usual variables, the default.

No frame of a raised `ConfigError` holds the environment or a document: both may hold keys.
"""

import json
import os
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import attrs

from streamnursery.config.build import build, check
from streamnursery.config.credentials import Absent, masked
from streamnursery.config.kinds import Spot
from streamnursery.config.layer import Found, Groups, Layer, read_document
from streamnursery.config.money_kinds import price_text
from streamnursery.config.plugins import installed, load_named
from streamnursery.config.providers import provider_names, read_providers, unread_variables
from streamnursery.config.report import Place, Report, dotted
from streamnursery.config.rule_kinds import rule_text
from streamnursery.config.schema import ANY, NO_DEFAULT, Key, Schema, schema_of
from streamnursery.config.sources import candidates, named_file, read_file, read_variables, visible
from streamnursery.values.errors import ConfigError
from streamnursery.values.money import Money
from streamnursery.values.origin import BaseUrl
from streamnursery.values.prices import Price
from streamnursery.values.routing_rules import RoutingRule
from streamnursery.values.secret import Secret
from streamnursery.values.settings import EngineConfig, Route
from streamnursery.wire.registry import Dialects


@attrs.frozen
class Setting:
    """One line of `config show --origin`."""

    key: str
    """The path as TOML writes it."""
    value: str
    """As TOML writes it; `***` for a credential, `not set` for one that is absent."""
    origin: str
    """`flag`, `env NAME`, `file PATH`, `env NAME, named in file PATH` or `default`."""


@attrs.frozen
class LoadedConfig:
    """A configuration, and where each part of it came from."""

    config: EngineConfig
    settings: tuple[Setting, ...]
    """Every setting that holds, defaults included, in the order of the reference."""
    file: Path | None
    """The configuration file that was read."""


def load_config(
    path: str | PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    flags: Mapping[str, object] | None = None,
    dialects: Dialects | None = None,
) -> LoadedConfig:
    """Read the configuration of a process.

    `path` names the file instead of STREAMNURSERY_CONFIG or the usual places. `flags` has the
    shape of the file, and None in it means "not given". `environ` and `cwd` are the process's
    own unless given. `dialects` are those that endpoints may speak; by default the built-in and
    the installed ones.

    Raises:
        ConfigError: with every problem of every source.
    """
    report = Report()
    spot = _root("default", environ, cwd)
    loaded = _load(path, {} if flags is None else flags, spot, _any(dialects), report)
    del environ, flags, spot
    if loaded is None:
        raise ConfigError(report.problems)
    return loaded


def config_from_mapping(
    mapping: Mapping[str, object],
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    dialects: Dialects | None = None,
) -> EngineConfig:
    """The configuration that nested tables describe, as a file would, and nothing else.

    Where a file names the place of a credential, a `Secret` may stand. The environment is read
    for `{ env = ... }` and for the providers that `mapping` mentions by name.

    Raises:
        ConfigError: with every problem.
    """
    report = Report()
    spot = _root("mapping", environ, cwd)
    known = _any(dialects)
    load_named(known, [mapping], {}, report)
    schema = schema_of(known)
    written = read_document(mapping, schema, spot, report)
    loaded = _assemble(written, spot, None, schema, known, report, unasked=False)
    del mapping, environ, written, spot
    if loaded is None:
        raise ConfigError(report.problems)
    return loaded.config


def _any(dialects: Dialects | None) -> Dialects:
    return Dialects(finder=installed) if dialects is None else dialects


def _root(origin: str, environ: Mapping[str, str] | None, cwd: Path | None) -> Spot:
    return Spot(
        (),
        origin,
        Path.cwd() if cwd is None else cwd,
        os.environ if environ is None else environ,
    )


def _load(
    path: str | PathLike[str] | None,
    flags: Mapping[str, object],
    spot: Spot,
    dialects: Dialects,
    report: Report,
) -> LoadedConfig | None:
    file, document = _file(path, spot, report)
    load_named(dialects, [flags, document], spot.environ, report)
    schema = schema_of(dialects)
    from_flags = read_document(flags, schema, attrs.evolve(spot, origin="flag"), report)
    origin, folder = (f"file {file}", file.parent) if file else ("default", spot.folder)
    here = attrs.evolve(spot, origin=origin, folder=folder)
    from_file = read_document(document, schema, here, report)
    names = [*from_flags.names, *from_file.names, *provider_names()]
    from_variables = read_variables(spot, names, schema, report)
    written = from_flags.over(from_variables).over(from_file)
    return _assemble(written, spot, file, schema, dialects, report, unasked=True)


def _file(
    path: str | PathLike[str] | None, spot: Spot, report: Report
) -> tuple[Path | None, Mapping[str, Any]]:
    named = named_file(path, spot.environ, spot.folder)
    if named is not None:
        file, what = named
        document = read_file(file, f"{what} {file}", report)
        if document is None:
            report.add(f"{what} {file}", (), "has no [tool.streamnursery] table; add one")
        return file, document or {}
    for file in filter(visible, candidates(spot.environ, spot.folder)):
        document = read_file(file, f"file {file}", report)
        if document is not None:
            return file, document
    return None, {}


def _assemble(
    written: Layer,
    spot: Spot,
    file: Path | None,
    schema: Schema,
    dialects: Dialects,
    report: Report,
    *,
    unasked: bool,
) -> LoadedConfig | None:
    """None when there are problems."""
    provided = read_providers(
        written, attrs.evolve(spot, origin="default"), report, unasked=unasked
    )
    layer = written.over(provided)
    check(layer, dialects, report)
    if report.problems:
        return None
    config = build(layer, written, dialects)
    unread = unread_variables(layer, spot.environ)
    config = attrs.evolve(config, unread_variables=unread)
    return LoadedConfig(config, tuple(_settings(layer, schema)), file)


def _settings(layer: Layer, schema: Schema) -> Iterator[Setting]:
    groups = layer.grouped()
    for section in schema.tree:
        keys = [key for key in schema.keys if key.place[0] == section]
        for name in [None] if ANY not in keys[0].place else layer.named(section):
            for key in keys:
                for place in _places(key, name, groups):
                    default = Found(key.default, "default")
                    found = layer.values.get(place, default)
                    if found.value is not NO_DEFAULT:
                        yield Setting(dotted(place), shown(found.value), found.origin)


def _places(key: Key, name: str | None, groups: Groups) -> list[Place]:
    """The settings that a key stands for in the table called `name`."""
    if name is None:
        if ANY not in key.place:
            return [key.place]
        at = key.place.index(ANY)
        tables = [t for t in groups if len(t) == at + 1 and t[:at] == key.place[:at]]
        return [(*table, *key.place[at + 1 :]) for table in tables]
    section, _, *rest = key.place
    if rest[-1] != ANY:
        return [(section, name, *rest)]
    table = (section, name, *rest[:-1])
    return [(*table, last) for last in groups.get(table, ())]


def shown(value: object) -> str:
    """A setting as TOML writes it, with credentials masked."""
    match value:
        case Secret():
            return "***"
        case Absent():
            return "not set"
        case None:
            return '"off"'
        case str():
            return json.dumps(masked(value))
        case BaseUrl() | Route() | Money():
            return json.dumps(str(value))
        case RoutingRule():
            return rule_text(value)
        case Price():
            return price_text(value, shown)
        case tuple():
            return f"[{', '.join(shown(item) for item in value)}]"
        case float():
            return f"{value:g}"
        case _:
            return json.dumps(value)
