"""How long a provider asks us to wait: headers, Google's RetryInfo, and words in a message.

Every value is returned as asked for, uncapped; what to make of it is a policy's business.
A value that its grammar does not allow is not a value: the next source is asked.
"""

import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from streamnursery.values.http import HttpHead

_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms", "x-amz-retry-after")
"""OpenAI; Azure; AWS."""

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
_DATES = tuple(
    re.compile(form)
    for form in (
        rf"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
        rf"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
        rf"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
"""HTTP dates (RFC 9110 5.6.7): IMF-fixdate, RFC 850, asctime."""

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(
    r" ?([0-9]+(?:\.[0-9]+)?) ?"
    r"(ms|milliseconds?|d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)(?![a-z])"
)
_HINT = re.compile(
    r"(?:(?:try again|retry)(?: your request)?(?: after| in)|resets? in|wait)(?: about| for)?"
    r"(?= ?[0-9])",
    re.IGNORECASE,
)
_HINT_REACH = 40


def retry_after(head: HttpHead, *, now: float) -> float | None:
    """Seconds that the headers of `head` ask for, or None. `now` is Unix time, for dates.

    Milliseconds are the more exact form and are read first. A date in the past asks for 0 s.
    """
    for name in _MILLISECONDS:
        milliseconds = _number(head.get(name))
        if milliseconds is not None:
            return milliseconds / 1000
    value = head.get("retry-after")
    seconds = _number(value)
    return seconds if seconds is not None else _until(value, now)


def retry_info(error: Mapping[str, object]) -> float | None:
    """Seconds of a google.rpc.RetryInfo among the details of a Google error object."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping) and str(detail.get("@type")).endswith(".RetryInfo"):
            delay = detail.get("retryDelay")
            if isinstance(delay, str) and delay.endswith("s"):
                return _number(delay[:-1])
            if isinstance(delay, Mapping):  # the same, by a gateway that knows its fields
                seconds = _number(str(delay.get("seconds", 0)))
                nanos = _number(str(delay.get("nanos", 0)))
                return None if seconds is None or nanos is None else seconds + nanos / 1e9
    return None


def hinted_delay(message: str) -> float | None:
    """Seconds of a phrase like "try again in 599ms", "retry in 1m30s", "retry after 26 seconds"."""
    hint = _HINT.search(message)
    if hint is None:
        return None
    reach = message[hint.end() : hint.end() + _HINT_REACH].lower()
    total, at = 0.0, 0
    while part := _DURATION.match(reach, at):
        total += float(part[1]) * _UNITS[_unit(part[2])]
        at = part.end()
    return total if at else None


def _unit(word: str) -> str:
    return word if word in _UNITS else "ms" if word.startswith("milli") else word[0]


def _number(value: str | None) -> float | None:
    if value is None or not _NUMBER.fullmatch(value.strip(" \t")):
        return None
    # An absurd number stays absurd, but finite, so that no arithmetic ends in a nan.
    return min(float(value), sys.float_info.max)


def _until(value: str | None, now: float) -> float | None:
    for form in _DATES:
        match = form.fullmatch((value or "").strip(" \t"))
        if match is not None:
            moment = _moment(match, now)
            return None if moment is None else max(0.0, moment - now)
    return None


def _moment(match: re.Match[str], now: float) -> float | None:
    year, second = int(match["year"]), int(match["second"])
    if len(match["year"]) == 2:
        # RFC 9110 5.6.7: more than 50 years ahead means the most recent year of that ending.
        this_year = datetime.fromtimestamp(now, UTC).year
        year += this_year - this_year % 100
        year -= 100 if year > this_year + 50 else 0
    leap = second == 60
    try:
        moment = datetime(
            year,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            second - leap,
            tzinfo=UTC,
        )
    except ValueError:  # the 31st of February; the year 0
        return None
    return moment.timestamp() + leap
