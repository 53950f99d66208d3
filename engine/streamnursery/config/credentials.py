"""Settings that hold a credential, and where it may be kept.

Rule 1: a file names the place of a credential, `{ env = "NAME" }` or `{ file = "path" }`, and
        never holds it: files are committed, copied and pasted.
Rule 2: a place that holds nothing is not a mistake of the file: it gives an `Absent`, and whoever
        needs the credential says so.
Rule 3: no message repeats what stands where a credential or its place should stand. The name
        of a variable is shown if it is written like one; people do paste keys into `env`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import attrs

from streamnursery.config.key_files import KeyFileError, read_key_file
from streamnursery.config.kinds import Kind, Spot, command_of, looks_like_credential
from streamnursery.config.report import MisfitError, described
from streamnursery.values.http import check_header
from streamnursery.values.origin import BaseUrl
from streamnursery.values.secret import RenewableSecret, Secret, key_problem

HOW = 'put it into an environment variable and write { env = "ITS_NAME" }, or { file = "path" }'

Fit: TypeAlias = Callable[[Secret], str | None]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


@attrs.frozen
class Absent:
    """A credential was asked for and its place holds none."""

    why: str


def kept_in(raw: object, spot: Spot) -> str:
    """Where the value of `raw` comes from, for people: `env NAME, named in file PATH`."""
    if not isinstance(raw, Mapping):
        return spot.origin
    name = raw.get("env")
    if isinstance(name, str):
        return f"env {_shown(name)}, named in {spot.origin}"
    return f"a file, named in {spot.origin}"


def variable(name: str, environ: Mapping[str, str]) -> Secret | Absent:
    """The credential in an environment variable; blank counts as not set."""
    text = environ.get(name, "").strip("\n")
    return (
        Secret(text)
        if text.strip()
        else Absent(f"the environment variable {_shown(name)} is not set")
    )


def _shown(name: str) -> str:
    return name if _SHOWN.fullmatch(name) else "named there"


def _looked_up(raw: object, spot: Spot, fit: Fit) -> Secret | Absent | None:
    """The credential at the place that `raw` names; None when `raw` names no place. `fit` says
    what is wrong with one."""
    if isinstance(raw, Secret):
        return raw
    if not isinstance(raw, Mapping):
        return None
    match dict(raw):
        case {"env": str(name), **rest} if not rest:
            if not _VARIABLE.fullmatch(name):
                raise MisfitError("`env` must be the name of an environment variable")
            return variable(name, spot.environ)
        case {"file": str(path), **rest} if not rest:
            return _from_file(path, spot, fit)
    raise MisfitError('must be { env = "NAME" } or { file = "path" } and nothing else')


def _from_file(path: str, spot: Spot, fit: Fit) -> Secret | Absent:
    try:
        place = spot.path(path)
        found = read_key_file(place)
    except OSError as error:
        return Absent(f"its file cannot be read: {error.strerror}")
    except KeyFileError as error:
        raise MisfitError(str(error)) from None
    except ValueError:
        raise MisfitError("`file` must be the path of a file with one line of plain text") from None
    if not found.text.strip():
        return Absent("its file is empty")
    again = partial(_read_again, place, fit)
    return RenewableSecret(found.text, again, readable_by_others=found.readable_by_others)


def _read_again(place: Path, fit: Fit) -> str | None:
    """What the file holds now; None where that cannot be a key."""
    try:
        text = read_key_file(place).text
    except (OSError, ValueError):
        return None
    return text if text.strip() and fit(Secret(text)) is None else None


def _key(raw: object, spot: Spot) -> Secret | Absent:
    found = _looked_up(raw, spot, key_problem)
    if found is None:
        if isinstance(raw, str):
            msg = f"a key does not belong here; {HOW}"
        else:
            msg = f'must be {{ env = "NAME" }} or {{ file = "path" }}, not {described(raw)}'
        raise MisfitError(msg)
    wrong = key_problem(found) if isinstance(found, Secret) else None
    if wrong is not None:
        raise MisfitError(wrong)
    return found


KEY = Kind("credential", _key, secret=True)


def _keys(raw: object, spot: Spot) -> tuple[Secret | tuple[str, ...], ...] | Absent:
    """Those that are there, and commands that print one; absent only where none is."""
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        form = '[{ env = "NAME" }, { file = "path" }]'
        msg = f"must be a list such as {form}, not {described(raw)}"
        raise MisfitError(msg)
    found = [_key_or_command(one, spot) for one in raw]
    keys = [one for one in found if not isinstance(one, Absent)]
    if len({key.reveal() if isinstance(key, Secret) else key for key in keys}) < len(keys):
        raise MisfitError("names one key twice; leave one of them out")
    absent = [one for one in found if isinstance(one, Absent)]
    return tuple(keys) if keys else absent[0]


def _key_or_command(raw: object, spot: Spot) -> Secret | tuple[str, ...] | Absent:
    if isinstance(raw, Mapping) and raw.keys() == {"command"}:
        try:
            return command_of(raw["command"], spot)
        except MisfitError as misfit:
            msg = f"`command` {'; '.join(misfit.problems)}"
            raise MisfitError(msg) from None
    return _key(raw, spot)


KEY_LIST = Kind("list of credentials", _keys, secret=True)


def _header(raw: object, spot: Spot) -> str | Secret | Absent:
    name = spot.place[-1]
    found = _looked_up(raw, spot, partial(_header_problem, name))
    if found is None:
        if not isinstance(raw, str):
            msg = f'must be text, {{ env = "NAME" }} or {{ file = "path" }}, not {described(raw)}'
            raise MisfitError(msg)
        if looks_like_credential(name) or re.match(r"(bearer|basic)\s", raw, re.IGNORECASE):
            msg = f"a credential does not belong here; {HOW}"
            raise MisfitError(msg)
    value = raw if isinstance(raw, str) else found
    wrong = _header_problem(name, "" if value is None or isinstance(value, Absent) else value)
    if wrong is not None:
        raise MisfitError(wrong)
    return "" if value is None else value


def _header_problem(name: str, value: str | Secret) -> str | None:
    if isinstance(value, Secret) and re.fullmatch(r"([\"'`]).*\1", value.reveal().strip()):
        return "the value has quotes around it; remove them"
    return check_header(name, value)


HEADER = Kind("text or credential", _header)


def _proxy(raw: object, spot: Spot) -> str:
    found = _looked_up(raw, spot, lambda _: None)
    if isinstance(found, Absent):
        # Not an Absent: without its proxy the engine would go out directly.
        msg = f"{found.why}; set it, or leave `proxy` out to go without"
        raise MisfitError(msg)
    if isinstance(found, Secret):
        return _proxy_address(found.reveal().strip())
    if not isinstance(raw, str):
        msg = f"must be a URL such as http://proxy.example.com:3128, not {described(raw)}"
        raise MisfitError(msg)
    if "@" in raw:
        msg = f"a proxy's password does not belong here; {HOW}"
        raise MisfitError(msg)
    return _proxy_address(raw) if raw else ""


def _proxy_address(text: str) -> str:
    """`http://[user:password@]host:port`, the port always written out."""
    if text.lower().startswith("socks"):
        raise MisfitError("SOCKS proxies are not supported; use an HTTP proxy")
    head, _, rest = text.rpartition("@")
    user = head.removeprefix("http://")
    if head and (user == head or not re.fullmatch(r"[!-.0-?A-~]+", user)):
        raise MisfitError("must be http://user:password@host:port, special characters %-encoded")
    try:
        url = BaseUrl.parse(f"http://{rest}" if head else text, schemes=("http",))
    except ValueError as error:
        raise MisfitError(str(error)) from None
    if url.path:
        raise MisfitError("a proxy's URL has no path")
    host = f"[{url.origin.host}]" if ":" in url.origin.host else url.origin.host
    return f"http://{user + '@' if head else ''}{host}:{url.origin.port}"


PROXY = Kind("URL or credential", _proxy, secret=True)


def masked(text: str) -> str:
    """A URL without the user and password in it; any other text as it is."""
    return re.sub(r"^(http://)[^/@]*@", r"\1***@", text)
