"""Where settings come from: one file, and the engine's own environment variables.

The first file that speaks of us counts and files are not merged, so that one look at one file
shows what holds.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from streamnursery.config.kinds import Kind, Spot
from streamnursery.config.layer import Layer
from streamnursery.config.report import Place, Report, nearest
from streamnursery.config.schema import ANY, PREFIX, Key, Schema, variable_name
from streamnursery.values.secret import Secret

FILE_NAME = "streamnursery.toml"
PROJECT_FILE = "pyproject.toml"
FILE_VARIABLE = "STREAMNURSERY_CONFIG"
MAX_FILE = 1024 * 1024
"""Bytes of a configuration file."""
_MAX_PARTS = 100
"""Of a dotted key; the longest that means something here has six."""


def named_file(
    path: str | PathLike[str] | None, environ: Mapping[str, str], cwd: Path
) -> tuple[Path, str] | None:
    """The file that was asked for, and by what."""
    if path is not None:
        return cwd / path, "file"
    text = environ.get(FILE_VARIABLE, "")
    return (cwd / text, f"env {FILE_VARIABLE}: file") if text.strip() else None


def candidates(environ: Mapping[str, str], cwd: Path) -> Iterator[Path]:
    """Where a file is looked for when none is named, best first (XDG base directories)."""
    yield cwd / FILE_NAME
    yield cwd / PROJECT_FILE
    folder = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not folder.is_absolute():
        folder = Path(environ.get("HOME", ""), ".config")
    if folder.is_absolute():
        yield folder / "streamnursery" / FILE_NAME


def visible(path: Path) -> bool:
    """Whether there is such a file. One in a folder closed to us counts as absent: the home
    in the environment may belong to another program."""
    try:
        return path.stat() is not None
    except (OSError, ValueError):
        return False


def read_file(path: Path, origin: str, report: Report) -> Mapping[str, Any] | None:
    """The document in `path`: empty, and a problem, when it cannot be read; None when it is a
    project file that does not speak of us."""
    data = _read_bytes(path, origin, report)
    project = path.name == PROJECT_FILE
    # A project file that never names us may be as broken as it likes.
    if project and b"streamnursery" not in data:
        return None
    document = _parse(data, origin, report)
    if not project or not document:
        return document
    tools = document.get("tool")
    own = tools.get("streamnursery") if isinstance(tools, dict) else None
    if own is None or isinstance(own, dict):
        return own
    report.add(origin, ("tool", "streamnursery"), "must be a table")
    return {}


def _read_bytes(path: Path, origin: str, report: Report) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        report.add(origin, (), f"cannot be read: {error.strerror}; check the path")
        return b""
    except ValueError:
        report.add(origin, (), "is no path that a file could have; check it")
        return b""
    if len(data) > MAX_FILE:
        report.add(origin, (), f"is larger than {MAX_FILE} bytes; is it a configuration?")
        return b""
    return data


def _parse(data: bytes, origin: str, report: Report) -> dict[str, Any]:
    try:
        # utf-8-sig: editors on Windows begin a file with a byte order mark.
        return parse_toml(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        report.add(origin, (), f"line {line}: not UTF-8; save the file as UTF-8")
    except RecursionError:
        report.add(origin, (), "is nested too deeply")
    except ValueError as error:
        report.add(origin, (), f"is not TOML: {str(error)[:200]}")
    return {}


def parse_toml(text: str) -> dict[str, Any]:
    """`tomllib.loads`, whose time is quadratic in the parts of a key: 6 s for 40 KB of `a.a.a`.

    Raises:
        ValueError: it is not TOML, or has keys of far too many parts.
    """
    for number, line in enumerate(text.splitlines(), 1):
        # A key ends at its "=". Dots within strings count as well, and nowhere come near.
        if any(part.count(".") > _MAX_PARTS for part in line.split("=")):
            msg = f"line {number}: a key of more than {_MAX_PARTS} parts"
            raise ValueError(msg)
    return tomllib.loads(text)


def read_variables(spot: Spot, names: Iterable[Place], schema: Schema, report: Report) -> Layer:
    """What the engine's own environment variables set.

    Endpoints and models are set only where `names` mentions them: a name cannot be read back
    from capitals and underscores.
    """
    layer = Layer()
    known = _variables(names, schema)
    for variable, text in spot.environ.items():
        if not variable.startswith(PREFIX) or variable == FILE_VARIABLE or not text.strip():
            continue
        origin = f"env {variable}"
        places = known.get(variable, [])
        if len(places) > 1:
            report.add(origin, (), "names two settings; set both in the configuration file")
        for place, key in places[:1]:
            here = Spot(place, origin, spot.folder, spot.environ)
            layer.read(_raw(text, key.kind), key.kind, here, report)
            if place[0] in ("endpoints", "models"):
                layer.names.setdefault(place[:2], origin)
        if not places and not report.full:
            _report_misspelt(variable, known, report)
    return layer


def _variables(names: Iterable[Place], schema: Schema) -> dict[str, list[tuple[Place, Key]]]:
    """Every variable that sets something; two settings only where two names look alike."""
    known: dict[str, list[tuple[Place, Key]]] = {}
    mentioned = sorted(set(names))
    for key in schema.keys:
        section, *rest = key.place
        if ANY not in rest:
            known.setdefault(variable_name(key.place), []).append((key.place, key))
        elif ANY not in rest[1:]:
            for _, name in (place for place in mentioned if place[0] == section):
                place = (section, name, *rest[1:])
                known.setdefault(variable_name(place), []).append((place, key))
    return known


def _raw(text: str, kind: Kind) -> object:
    """What a variable's text stands for. Numbers, arrays and the like are written as in TOML."""
    if kind.secret:
        return Secret(text.strip("\n"))
    if kind.plain or "\n" in text:
        return text.strip()
    try:
        return parse_toml(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _report_misspelt(variable: str, known: Iterable[str], report: Report) -> None:
    """A variable that is nearly one of ours is a mistake; any other belongs to another program."""
    meant = nearest(
        variable.removeprefix(PREFIX), (k.removeprefix(PREFIX) for k in known), cutoff=0.8
    )
    if meant is None:
        return
    what = f"sets nothing; did you mean {PREFIX}{meant}?"
    if variable.startswith((f"{PREFIX}ENDPOINTS_", f"{PREFIX}MODELS_")):
        what += " It counts for endpoints and models that the configuration file names"
    report.add(f"env {variable[:100]}", (), what)
