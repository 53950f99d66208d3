"""Whose language a relayed path is in, and how another endpoint writes the same path.

Rule 1: a path is in a dialect's language if the dialect writes it so, for the model that is asked
        for; there is no list of paths.
Rule 2: a base URL may end in a version (`/v1`), and a path may begin with the same one.
Rule 3: a dialect whose paths have a query streams where the caller's query says so, and any other
        where the body does.
"""

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote

import attrs

from streamnursery.values.request import ChatRequest
from streamnursery.wire.dialect import Dialect

_VERSION = re.compile(r"/v\d[a-z0-9]*(?=/)")
_KIN = {"azure-openai": "openai-chat"}
"""Dialects that say the same under another path."""
_SHARED_SERVERS = frozenset({"openai-chat", "openai-responses"})
"""Languages that an endpoint of either dialect is asked in."""
_STREAMED, _WHOLE = ":streamGenerateContent", ":generateContent"
"""Google's names for the two ways of asking."""


@attrs.frozen
class RelayPath:
    """A path below an endpoint's base URL."""

    path: str
    query: str = ""
    model: str | None = None
    """As the path or the body names it."""
    language: Dialect | None = None
    streams: bool = False
    """In that language."""

    def dialect_at(self, spoken: Dialect) -> Dialect | None:
        """The dialect in which it is said at an endpoint that speaks `spoken`; None: in none."""
        if self.language is None:
            return None
        if family(spoken.name) == family(self.language.name):
            return spoken
        both = {family(spoken.name), family(self.language.name)}
        return self.language if both <= _SHARED_SERVERS else None

    def at(
        self, dialect: Dialect | None, request: ChatRequest, model: str, *, with_query: bool
    ) -> str:
        """The path for `model`, as it is called on the wire, and its query."""
        path, needed = self.path, ""
        if dialect is not None:
            written, _, needed = dialect.path(request, model).partition("?")
            path = written if self.streams else _whole(written)
            needed = needed if self.streams else ""
        if with_query:
            stated = {name for name, _ in parse_qsl(self.query, keep_blank_values=True)}
            more = [pair for pair in needed.split("&") if pair.partition("=")[0] not in stated]
            needed = "&".join(part for part in (self.query, *more) if part)
        return f"{path}?{needed}" if needed else path


def family(name: str) -> str:
    """Dialects with the same family say the same."""
    return _KIN.get(name, name)


def below(path: str, base: str) -> str:
    """`path` below the base URL whose path is `base`, which may stand in it."""
    base = base.rstrip("/")
    if base and path.startswith(base + "/"):
        return path[len(base) :]
    last = base.rpartition("/")[2]
    if last and path.startswith(f"/{last}/"):
        return path[len(last) + 1 :]
    return path


def read_path(
    path: str,
    query: str,
    dialects: Iterable[Dialect],
    request: ChatRequest,
    model: str | None,
    *,
    streamed: bool,
) -> RelayPath:
    """What a path asks for. `model` is its name in the body, `streamed` what that says; the first
    of `dialects` that writes the path so is its language."""
    named = model or model_of(path) or request.model
    plain = _VERSION.sub("", path, count=1) if _VERSION.match(path) else path
    for dialect in dialects:
        written, _, needed = dialect.path(request, named).partition("?")
        if written in (path, plain):
            given = dict(parse_qsl(query))
            pairs = dict(parse_qsl(needed))
            streams = pairs.items() <= given.items() if pairs else streamed
            return RelayPath(path, query, named, dialect, streams)
        if _whole(written) != written and _whole(written) in (path, plain):
            return RelayPath(path, query, named, dialect)
    return RelayPath(path, query, named)


def model_of(path: str) -> str | None:
    """The model that a path of Google's or Azure's names."""
    found = re.search(r"/(?:models|deployments)/([^/:?]+)[/:]", path)
    return None if found is None else unquote(found[1])


def _whole(path: str) -> str:
    return path.replace(_STREAMED, _WHOLE)
