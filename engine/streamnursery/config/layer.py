"""What one source says, and how the layers of several sources lie on each other.

Rule 1: a source is read whole; one bad value neither hides the others nor is reported twice.
Rule 2: higher layers replace single settings, never whole tables.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from streamnursery.config.credentials import kept_in
from streamnursery.config.kinds import Kind, Spot, is_name
from streamnursery.config.report import MisfitError, Place, Report, described, quoted, suggestion
from streamnursery.config.schema import ANY, Key, Node, Schema
from streamnursery.values.secret import Secret

SIMULATOR = "sim"
"""The built-in endpoint: every `sim/...` model is served there, in process."""

Groups: TypeAlias = dict[Place, dict[str, Any]]

_SCOPES = {"models": "a model", "tenants": "a tenant", "endpoints": "an endpoint"}
_ENDPOINT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@attrs.frozen
class Found:
    """A setting that a source gives."""

    value: Any
    origin: str


@attrs.frozen
class Layer:
    """Everything that one source, or several laid on each other, says."""

    values: dict[Place, Found] = attrs.field(factory=dict)
    names: dict[Place, str] = attrs.field(factory=dict)
    """The endpoints and models that are mentioned, with the first origin that does."""
    broken: set[Place] = attrs.field(factory=set)
    """Settings that were given and could not be read: they are not missing."""

    def over(self, lower: "Layer") -> "Layer":
        return Layer(
            {**lower.values, **self.values},
            {**lower.names, **self.names},
            lower.broken | self.broken,
        )

    def named(self, section: str) -> list[str]:
        return [place[1] for place in self.names if place[0] == section]

    def grouped(self) -> "Groups":
        """The values by the path of their table and by their last name."""
        groups: Groups = {}
        for place, found in self.values.items():
            groups.setdefault(place[:-1], {})[place[-1]] = found.value
        return groups

    def read(self, raw: object, kind: Kind, spot: Spot, report: Report) -> None:
        """Put one value in its place, or report why it cannot be used."""
        try:
            self.values[spot.place] = Found(kind.read(raw, spot), kept_in(raw, spot))
        except MisfitError as misfit:
            self.broken.add(spot.place)
            if misfit.rest is not None:
                self.values[spot.place] = Found(misfit.rest, spot.origin)
            for problem in misfit.problems:
                report.add(spot.origin, spot.place, problem)


def read_document(raw: object, schema: Schema, spot: Spot, report: Report) -> Layer:
    """A layer from nested tables, such as a parsed TOML file; None means "not given"."""
    layer = Layer()
    _read(raw, schema.tree, spot, report, layer)
    return layer


def _read(raw: object, node: Node, spot: Spot, report: Report, layer: Layer) -> None:
    if raw is None:
        return
    if isinstance(node, Key):
        layer.read(raw, node.kind, spot, report)
        return
    if not isinstance(raw, Mapping) or isinstance(raw, Secret):
        report.add(spot.origin, spot.place, f"must be a table, not {described(raw)}")
        return
    for name, value in raw.items():
        below = _below(name, node, spot, report)
        if below is None:
            continue
        place = (*spot.place, name)
        if len(place) == 2 and ANY in node:
            layer.names.setdefault(place, spot.origin)
        _read(value, below, spot.below(name), report, layer)


def _below(name: object, node: Mapping[str, Node], spot: Spot, report: Report) -> Node | None:
    """What the schema has under `name`; None, and a problem, if it has nothing."""
    if not isinstance(name, str):
        report.add(spot.origin, spot.place, f"a key must be text, not {described(name)}")
        return None
    if ANY in node:
        wrong = _name_problem(spot.place, name)
        if wrong is not None:
            report.add(spot.origin, spot.place, wrong)
        return None if wrong else node[ANY]
    if name not in node:
        report.add(spot.origin, spot.place, _unknown(name, node, report))
        return None
    return node[name]


def _unknown(name: str, node: Mapping[str, Node], report: Report) -> str:
    for now, key in node.items():
        if isinstance(key, Key) and key.formerly == name:
            return f"{quoted(name)} was renamed: write {quoted(now)}"
    hint = "" if report.full else suggestion(name, node)
    return f"unknown key {quoted(name)}{hint}"


def _name_problem(place: Place, name: str) -> str | None:
    if place == ("endpoints",):
        if name == SIMULATOR:
            return f'"{SIMULATOR}" is the built-in simulator; give the endpoint another name'
        if not _ENDPOINT_NAME.fullmatch(name):
            return f"{quoted(name)} cannot name an endpoint: letters, digits, . _ -, at most 64"
    elif place[-1] in _SCOPES and not is_name(name):
        what = _SCOPES[place[-1]]
        return f"{quoted(name)} cannot name {what}: printable, no outer spaces, at most 200"
    return None
