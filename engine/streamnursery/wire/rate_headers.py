"""What the head of an answer says about the limits of its account.

`FAMILIES` is the table of header names, and of what each provider means by a reset:

    filled   the time until all of the limit is there again; it comes back evenly until then.
             OpenAI, Azure, Groq ("resets to its initial state"), Anthropic ("fully replenished")
    renewed  the time at which all of it comes back at once, and none of it before: counted in
             minutes, hours or days (Cerebras), or without a word of what is counted (OpenRouter,
             gateways, draft-ietf-httpapi-ratelimit-headers)

A reset is a duration in Go's form (`12ms`, `6m0s`), seconds, a date, or Unix time in seconds or
milliseconds. A value that its grammar does not allow, -1 for one, is not a value; nothing here
raises.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

import attrs

from streamnursery.values.http import HttpHead
from streamnursery.values.rates import RateNews

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@attrs.frozen
class _Family:
    """Headers of one form."""

    name: "re.Pattern[str]"
    """Groups `what` and, where the name has it, `kind`."""
    kinds: dict[str, tuple[str, float]]
    """What is counted, and in which period where no reset is said; "" where no name says it."""
    renewed: bool


_WHAT = "(?P<what>limit|remaining|reset)"
_MINUTELY = {
    "requests": ("rpm", MINUTE),
    "tokens": ("tpm", MINUTE),
    "input-tokens": ("input_tpm", MINUTE),
    "output-tokens": ("output_tpm", MINUTE),
}
_PERIODICAL = {
    f"{what}-{period}": (f"{short}p{period[0]}", seconds)
    for what, short in (("requests", "r"), ("tokens", "t"))
    for period, seconds in (("minute", MINUTE), ("hour", HOUR), ("day", DAY))
}


def _names(form: str, kinds: dict[str, tuple[str, float]]) -> "re.Pattern[str]":
    return re.compile(form.format(what=_WHAT, kind=f"(?P<kind>{'|'.join(kinds)})"))


FAMILIES = (
    _Family(_names("x-rate-?limit-{what}-{kind}", _MINUTELY), _MINUTELY, renewed=False),
    _Family(_names("anthropic-ratelimit-{kind}-{what}", _MINUTELY), _MINUTELY, renewed=False),
    _Family(_names("x-ratelimit-{what}-{kind}", _PERIODICAL), _PERIODICAL, renewed=True),
    _Family(
        re.compile(f"(?:x-)?rate-?limit-{_WHAT}(?P<kind>)"), {"": ("rpm", MINUTE)}, renewed=True
    ),
)

_COUNT = re.compile(r"[0-9]{1,15}(?:\.0*)?")
_SECONDS = re.compile(r"[0-9]{1,13}(?:\.[0-9]{1,9})?")
_MICRO = "\u00b5s"
_PART = rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)(h|ms|m|s|us|{_MICRO}|ns)"
_PARTS = re.compile(_PART)
_DURATION = re.compile(rf"(?:{_PART})+")
_UNITS = {
    "h": HOUR,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    _MICRO: 1e-6,
    "ns": 1e-9,
}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})")
_UNIX, _UNIX_MS = 1e9, 1e12
"""Numbers from which on a reset is Unix time: thirty years are not a duration."""
_PLAIN = 15
"""Digits of a whole number that is read without looking at its grammar."""
MAX_VALUE = 64
"""Characters of a header's value that are looked at."""


def rate_news(head: HttpHead, *, now: float) -> tuple[RateNews, ...]:
    """One for each kind of limit in the headers. `now` is Unix time, for dates."""
    told = _told(head)
    found: list[RateNews] = []
    for kind, of in told:  # a loop: a comprehension is a call, and this is done for each answer
        if of.remaining is not None:
            reset = _seconds(of.reset, now)
            about = (kind, of.limit or None, of.remaining, reset)
            found.append(RateNews(*about, period=of.period, renewed=of.renewed))
    return tuple(found)


def named_reset(head: HttpHead, *, now: float) -> float | None:
    """Seconds until the limit that was hit is there again, of an answer that refuses for a limit.

    That is one of which nothing is left; otherwise the one with the smallest part left.
    """
    resets = [
        (told.left, -seconds)
        for _, told in _told(head)
        if (seconds := _seconds(told.reset, now)) is not None
    ]
    return -min(resets)[1] if resets else None


@attrs.define
class _Told:
    """What the headers say of one kind."""

    period: float
    renewed: bool
    limit: int | None = None
    remaining: int | None = None
    reset: str | None = None

    @property
    def left(self) -> float:
        """The part of the limit that is left; nothing where only a reset is given."""
        return (self.remaining or 0) / max(1, self.limit or 1)


@lru_cache(maxsize=256)
def _meaning(name: str) -> tuple[str, str, float, bool] | None:
    """Kind, what is said of it, period, and whether it is renewed: of a header about limits.
    An endpoint sends the same names with every answer."""
    for family in FAMILIES:
        found = family.name.fullmatch(name)
        if found is not None:
            kind, period = family.kinds[found["kind"]]
            return kind, found["what"], period, family.renewed
    return None


def _told(head: HttpHead) -> Iterable[tuple[str, _Told]]:
    told: dict[str, _Told] = {}
    for name, value in head.headers:
        meaning = _meaning(name) if "limit-" in name else None
        if meaning is None:
            continue
        kind, what, period, renewed = meaning
        about = told.get(kind)
        if about is None:
            about = told[kind] = _Told(period, renewed)
        if what == "reset":
            about.reset = value
            continue
        plain = len(value) <= _PLAIN and value.isascii() and value.isdigit()
        number = int(value) if plain else _count(value)
        if what == "limit":
            about.limit = number
        else:
            about.remaining = number
    return told.items()


def _count(value: str) -> int | None:
    if _COUNT.fullmatch(value[:MAX_VALUE]) is None:
        return None
    return int(value.partition(".")[0])


def _seconds(value: str | None, now: float) -> float | None:
    if value is None or len(value) > MAX_VALUE:
        return None
    if _SECONDS.fullmatch(value):
        number = float(value)
        if number >= _UNIX:
            return max(0.0, (number / 1000 if number >= _UNIX_MS else number) - now)
        return number
    if _DURATION.fullmatch(value):
        seconds = 0.0
        for part, unit in _PARTS.findall(value):
            seconds += float(part) * _UNITS[unit]
        return seconds
    if _DATE.fullmatch(value):
        try:
            return max(0.0, datetime.fromisoformat(_microseconds(value)).timestamp() - now)
        except ValueError:
            return None
    return None


def _microseconds(date: str) -> str:
    """Python reads no more than six digits of a second."""
    return re.sub(r"(\.\d{6})\d+", r"\1", date)
