"""The kinds of value a setting can have: each reads one raw value or says why it cannot.

A raw value comes from a file, from the environment or from Python. A reader returns what the
engine uses and raises `MisfitError` for everything else, whatever its type.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, TypeGuard, get_args

import attrs

from streamnursery.config.report import MisfitError, Place, described, nearest, quoted
from streamnursery.values.origin import BaseUrl
from streamnursery.values.policy import OnInterrupt, ladder
from streamnursery.values.settings import Route
from streamnursery.wire.dialect import EndpointOption

MAX_COUNT = 10**12
MAX_SECONDS = 1e9
MAX_SOCKET = 100
MAX_TEXT = 200
"""Characters of a model's or endpoint's name."""

_WORDS: Mapping[str, str | None] = {"off": None, "auto": "auto"}


@attrs.frozen
class Spot:
    """Where a raw value stands, and what a reader may look at to understand it."""

    place: Place
    origin: str
    folder: Path
    """Relative paths start here: the folder of the file that names them."""
    environ: Mapping[str, str] = attrs.field(repr=False)

    def below(self, name: str) -> "Spot":
        return attrs.evolve(self, place=(*self.place, name))

    def path(self, text: str) -> Path:
        home = self.environ.get("HOME", "")
        if text.startswith("~/") and home:
            return Path(home, text[2:])
        return self.folder / text


Reader: TypeAlias = Callable[[object, Spot], object]


@attrs.frozen
class Kind:
    """How a setting is written and read."""

    form: str
    """As the reference names it."""
    read: Reader
    plain: bool = True
    """In the environment the text is the value; otherwise it is read as TOML where it can be."""
    secret: bool = False
    """In the environment the text is the credential itself."""


def whole(low: int, high: int = MAX_COUNT, *, word: str = "") -> Kind:
    """A whole number, or `word` where there is one."""
    form = f"whole number >= {low}"
    if high < MAX_COUNT:
        form += f" and <= {high}"
    if word:
        form += f' or "{word}"'

    def read(raw: object, _: Spot) -> int | str:
        if word and raw == word:
            return word
        if isinstance(raw, int) and not isinstance(raw, bool) and low <= raw <= high:
            return raw
        raise _no_number(raw, f"a {form}", high)

    return Kind(form, read, plain=False)


def _part(raw: object, _: Spot) -> float:
    if is_number(raw) and 0 < raw <= 1:
        return float(raw)
    raise _no_number(raw, f"a {PART.form}", 1)


PART = Kind("number > 0 and <= 1", _part, plain=False)


def number(low: int, high: int | None = None) -> Kind:
    """A number from `low` to `high`, or without an upper end."""
    most = 1000 if high is None else high
    form = f"number >= {low}" if high is None else f"number from {low} to {high}"

    def read(raw: object, _: Spot) -> float:
        if is_number(raw) and low <= raw <= most:
            return float(raw)
        raise _no_number(raw, f"a {form}", most)

    return Kind(form, read, plain=False)


def _server_path(raw: object, _: Spot) -> str:
    if isinstance(raw, str) and re.fullmatch(r"/[\x21-\x7e]*", raw):
        return raw
    msg = f"must be a path that begins with /, not {described(raw)}"
    raise MisfitError(msg)


SERVER_PATH = Kind("path", _server_path)


def _weight(raw: object, _: Spot) -> float:
    if is_number(raw) and 0 < raw <= MAX_SECONDS:
        return float(raw)
    raise _no_number(raw, f"a {WEIGHT.form}", MAX_SECONDS)


WEIGHT = Kind("number > 0", _weight, plain=False)


def seconds(*words: str, zero: bool = False) -> Kind:
    """Seconds above zero (from zero on with `zero`), or one of the words "off" and "auto"."""
    form = " or ".join(["seconds >= 0" if zero else "seconds > 0", *(f'"{w}"' for w in words)])

    def read(raw: object, _: Spot) -> float | str | None:
        if isinstance(raw, str) and raw in words:
            return _WORDS[raw]
        # Compared before it is converted: an int may be too large for a float.
        if is_number(raw) and (0 < raw <= MAX_SECONDS or (zero and raw == 0)):
            return float(raw)
        raise _no_number(raw, form, MAX_SECONDS)

    return Kind(form, read, plain=False)


def _no_number(raw: object, form: str, most: float) -> MisfitError:
    over = is_number(raw) and raw > most and not form.endswith(f"<= {most:.0f}")
    too_much = f" and at most {most:.0f}" if over else ""
    return MisfitError(f"must be {form}{too_much}, not {described(raw)}")


def is_number(raw: object) -> TypeGuard[int | float]:
    return isinstance(raw, int | float) and not isinstance(raw, bool)


def _flag(raw: object, _: Spot) -> bool:
    if isinstance(raw, bool):
        return raw
    msg = f"must be true or false, not {described(raw)}"
    raise MisfitError(msg)


FLAG = Kind("true or false", _flag, plain=False)


def choice(*names: str) -> Kind:
    form = " or ".join(filter(None, [", ".join(map(quoted, names[:-1])), quoted(names[-1])]))

    def read(raw: object, _: Spot) -> str:
        if isinstance(raw, str) and raw in names:
            return raw
        meant = nearest(raw, names) if isinstance(raw, str) and len(names) > 1 else None
        hint = f"; did you mean {quoted(meant)}?" if meant else ""
        msg = f"must be {form}{hint}"
        raise MisfitError(msg)

    return Kind(form, read)


def dialect_option(option: EndpointOption) -> Kind:
    """The kind of a setting that a dialect declares."""
    if isinstance(option.default, bool):
        return FLAG
    form = option.expected or "text"

    def read(raw: object, _: Spot) -> str:
        if isinstance(raw, str) and re.fullmatch(option.pattern or r"[^\r\n]{0,200}", raw):
            return raw
        msg = (
            f"must be {form}, not {described(raw)}"
            if not isinstance(raw, str)
            else f"must be {form}"
        )
        raise MisfitError(msg)

    return Kind(form, read)


def _url(raw: object, _: Spot) -> BaseUrl:
    if not isinstance(raw, str):
        msg = f"must be a URL such as https://api.example.com/v1, not {described(raw)}"
        raise MisfitError(msg)
    if raw[:1] in ("'", '"'):
        raise MisfitError("the URL has quotes around it; remove them")
    try:
        return BaseUrl.parse(raw)
    except ValueError as error:
        raise MisfitError(str(error)) from None


URL = Kind("URL", _url)


def _pem_file(raw: object, spot: Spot) -> str:
    if not isinstance(raw, str):
        msg = f"must be the path of a PEM file, not {described(raw)}"
        raise MisfitError(msg)
    if not raw:
        return ""
    path = spot.path(raw)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        msg = f"the file cannot be read: {error.strerror}"
        raise MisfitError(msg) from None
    except ValueError:
        raise MisfitError("is no path that a file could have") from None
    return str(path)


PEM_FILE = Kind("path", _pem_file)


def _socket(raw: object, spot: Spot) -> str:
    if not isinstance(raw, str) or not raw.isprintable():
        msg = f"must be the path of a socket that can be made there, not {described(raw)}"
        raise MisfitError(msg)
    path = str(spot.path(raw)) if raw else ""
    if len(path.encode()) > MAX_SOCKET:
        msg = f"must be a path of at most {MAX_SOCKET} bytes: a system's sockets take no more"
        raise MisfitError(msg)
    return path


SOCKET = Kind("path", _socket)


def _query(raw: object, spot: Spot) -> str:
    if not isinstance(raw, str):
        msg = f"must be text, not {described(raw)}; write it in quotes"
        raise MisfitError(msg)
    if looks_like_credential(spot.place[-1]):
        raise MisfitError(
            "a URL is no place for a credential: it shows in logs; use `key` or a header"
        )
    if not raw.isprintable() or len(raw) > 10 * MAX_TEXT:
        raise MisfitError("must be printable text of at most 2,000 characters")
    return raw


QUERY = Kind("text", _query)


def looks_like_credential(name: str) -> bool:
    """Whether a header or parameter of this name carries something that must not be shown."""
    ends = r"(key|token|secret|password|authorization|cookie|signature)$"
    return re.search(ends, name, re.IGNORECASE) is not None


def is_name(raw: object) -> TypeGuard[str]:
    """Whether `raw` can name a model: printable, without outer spaces, at most 200 characters."""
    if not isinstance(raw, str) or not raw or len(raw) > MAX_TEXT:
        return False
    return raw.isprintable() and raw == raw.strip()


def _items(raw: object, of_what: str) -> list[object]:
    if isinstance(raw, list | tuple):
        return list(raw)
    msg = f"must be an array of {of_what}, not {described(raw)}"
    raise MisfitError(msg)


def _routes(raw: object, spot: Spot) -> tuple[Route, ...]:
    routes, problems = [], []
    items = _items(raw, 'tables such as { endpoint = "main", model = "name-there" }')
    for number, item in enumerate(items, 1):
        wrong = _route_problem(item)
        if wrong is not None or not isinstance(item, Mapping):
            problems.append(f"item {number}: {wrong}")
        else:
            routes.append(Route(item["endpoint"], item.get("model", spot.place[1])))
    if not items:
        problems.append("is empty; name an endpoint, or leave it out for the default one")
    if problems:
        raise MisfitError(*problems, rest=tuple(routes))
    return tuple(routes)


def _route_problem(item: object) -> str | None:
    if not isinstance(item, Mapping):
        return f'must be a table such as {{ endpoint = "main" }}, not {described(item)}'
    for name in item:
        if name not in ("endpoint", "model"):
            shown = quoted(name) if isinstance(name, str) else described(name)
            return f"unknown key {shown}; a route has `endpoint` and `model`"
    if not is_name(item.get("endpoint")):
        return "`endpoint` must be the name of an endpoint"
    if not is_name(item.get("model", "the model's own")):
        return "`model` must be the model's name at that endpoint"
    return None


ROUTES = Kind("array of { endpoint, model }", _routes, plain=False)


def _models(raw: object, _: Spot) -> tuple[str, ...]:
    names, problems = [], []
    for number, item in enumerate(_items(raw, "model names"), 1):
        if is_name(item):
            names.append(item)
        else:
            problems.append(f"item {number}: must be a model name, not {described(item)}")
    if problems:
        raise MisfitError(*problems, rest=tuple(names))
    return tuple(names)


MODELS = Kind("array of model names", _models, plain=False)


def command_of(raw: object, _: Spot) -> tuple[str, ...]:
    """A program and its arguments."""
    items = _items(raw, "a program and its arguments")
    texts = [item for item in items if isinstance(item, str) and "\0" not in item]
    if not items or len(texts) < len(items) or not texts[0]:
        what = 'a program and its arguments, each a text: ["gcloud", "auth", "print-access-token"]'
        msg = f"must be an array of {what}; no shell reads it"
        raise MisfitError(msg)
    return tuple(texts)


COMMAND = Kind("array of a program and its arguments", command_of, plain=False)


def _hedge(raw: object, _: Spot) -> object:
    if raw in ("p95", "off"):
        return raw
    if is_number(raw) and 0 < raw <= MAX_SECONDS:
        return float(raw)
    raise _no_number(raw, HEDGE.form, MAX_SECONDS)


HEDGE = Kind('seconds > 0 or "p95" or "off"', _hedge, plain=False)


def _ladder(raw: object, _: Spot) -> tuple[OnInterrupt, ...]:
    try:
        return ladder(raw)
    except ValueError as error:
        raise MisfitError(str(error)) from None


_STEPS = ", ".join(quoted(step) for step in get_args(OnInterrupt))
LADDER = Kind(f"{_STEPS} or an array of them", _ladder, plain=False)
