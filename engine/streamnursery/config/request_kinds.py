"""How the defaults of requests are written."""

from collections.abc import Mapping

from streamnursery.config.kinds import Kind, Spot
from streamnursery.config.report import MisfitError, described, quoted
from streamnursery.values.request_defaults import FIELDS

MAX_WORD = 200


def _word(raw: object, _: Spot) -> str:
    if isinstance(raw, str) and raw.strip() == raw and raw.isprintable() and len(raw) <= MAX_WORD:
        return raw
    msg = f"must be printable text without outer spaces, not {described(raw)}"
    raise MisfitError(msg)


WORD = Kind("text", _word)


def _extra(raw: object, _: Spot) -> dict[str, object]:
    if not isinstance(raw, Mapping) or not all(isinstance(name, str) for name in raw):
        msg = f"must be a table of request fields, not {described(raw)}"
        raise MisfitError(msg)
    for name in raw:
        if name == "stream":
            raise MisfitError('may not contain "stream": the engine always streams')
        if name in FIELDS:
            msg = f"may not contain {quoted(name)}, which has a key of its own beside `extra`"
            raise MisfitError(msg)
    return dict(raw)


EXTRA = Kind("table", _extra, plain=False)
