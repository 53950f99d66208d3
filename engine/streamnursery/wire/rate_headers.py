"""What the head of an answer says about the limits of its account.

OpenAI, Azure, Groq and most gateways: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, the
reset as a duration in Go's form (`12ms`, `6m0s`) or in seconds. Anthropic:
`anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`, the
reset as a date. Both mean by reset the time until all of the limit is there again.

A value that its grammar does not allow, -1 for one, is no value; nothing here raises.
"""

import re
from datetime import datetime

from streamnursery.values.http import HttpHead
from streamnursery.values.rates import RateNews

_KINDS = {
    "requests": "rpm",
    "tokens": "tpm",
    "input-tokens": "input_tpm",
    "output-tokens": "output_tpm",
}
_NAME = re.compile(
    "x-ratelimit-(?P<what>limit|remaining|reset)-(?P<kind>requests|tokens)"
    "|anthropic-ratelimit-(?P<kind2>requests|tokens|input-tokens|output-tokens)"
    "-(?P<what2>limit|remaining|reset)"
)
_COUNT = re.compile(r"[0-9]{1,15}(?:\.0*)?")
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_MICRO = "\u00b5s"
_PART = rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)(h|ms|m|s|us|{_MICRO}|ns)"
_DURATION = re.compile(rf"(?:{_PART})+")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, _MICRO: 1e-6, "ns": 1e-9}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})")
MAX_VALUE = 64
"""Characters of a header's value that are looked at."""


def rate_news(head: HttpHead, *, now: float) -> tuple[RateNews, ...]:
    """One for each kind of limit that the headers tell of. `now` is Unix time, for dates."""
    told: dict[str, dict[str, str]] = {}
    for name, value in head.headers:
        found = _NAME.fullmatch(name) if "ratelimit" in name else None
        if found is not None:
            kind = _KINDS[found["kind"] or found["kind2"]]
            told.setdefault(kind, {})[found["what"] or found["what2"]] = value
    if not told:
        return ()
    news = (_news(kind, said, now) for kind, said in told.items())
    return tuple(item for item in news if item is not None)


def _news(kind: str, said: dict[str, str], now: float) -> RateNews | None:
    remaining = _count(said, "remaining")
    if remaining is None:
        return None
    return RateNews(
        kind, _count(said, "limit") or None, remaining, _seconds(said.get("reset"), now)
    )


def _count(said: dict[str, str], what: str) -> int | None:
    value = said.get(what)
    if value is None or _COUNT.fullmatch(value[:MAX_VALUE]) is None:
        return None
    return int(value.partition(".")[0])


def _seconds(value: str | None, now: float) -> float | None:
    if value is None or len(value) > MAX_VALUE:
        return None
    if _SECONDS.fullmatch(value):
        return float(value)
    if _DURATION.fullmatch(value):
        return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, value))
    if _DATE.fullmatch(value):
        try:
            return max(0.0, datetime.fromisoformat(_microseconds(value)).timestamp() - now)
        except ValueError:
            return None
    return None


def _microseconds(date: str) -> str:
    """Python reads no more than six digits of a second."""
    return re.sub(r"(\.\d{6})\d+", r"\1", date)
