"""What a provider asks us to wait, in all its spellings."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from streamnursery.values.http import HttpHead
from streamnursery.wire.retry_after import hinted_delay, retry_after, retry_info

NOW = 1_696_004_797.0
"""Fri, 29 Sep 2023 16:26:37 GMT"""


def asked(now: float = NOW, **headers: str) -> float | None:
    names = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return retry_after(HttpHead(429, names), now=now)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20),
        (" 20\t", 20),
        ("1.5", 1.5),
        ("0", 0),
        ("Fri, 29 Sep 2023 16:26:57 GMT", 20),
        ("Friday, 29-Sep-23 16:26:57 GMT", 20),
        ("Fri Sep 29 16:26:57 2023", 20),
        ("Sun Oct  1 16:26:37 2023", 172_800),
        ("Fri, 29 Sep 2023 16:25:57 GMT", 0),
        ("Sat, 30 Dec 2023 23:59:60 GMT", 7_976_003),
        ("Friday, 29-Sep-99 16:26:57 GMT", 0),
        ("Sunday, 29-Sep-24 16:26:37 GMT", 366 * 86_400),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert asked(retry_after=value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-10",
        "nan",
        "inf",
        "5s",
        "1e3",
        "1_000",
        "20, 30",
        ".5",
        "5.",
        "+5",
        "\u0661",
        "0x5",
        "Fri, 31 Feb 2023 16:26:57 GMT",
        "Zun, 29 Sep 2023 16:26:57 GMT",
        "Fri, 29 Sep 2023",
        "Fri, 29 Sep 0000 16:26:57 GMT",
        "Fri, 29 Sep 2023 24:26:57 GMT",
        "soon",
    ],
)
def test_what_the_grammar_does_not_allow_is_no_value(value: str) -> None:
    assert asked(retry_after=value) is None
    assert asked(retry_after_ms=value) is None


def test_an_absurd_number_stays_finite() -> None:
    assert asked(retry_after="9" * 35) == pytest.approx(1e35)
    assert asked(retry_after="9" * 5000) == sys.float_info.max
    assert asked(retry_after_ms="9" * 5000) == sys.float_info.max / 1000


def test_milliseconds_are_read_before_seconds_unless_they_are_unusable() -> None:
    assert asked(retry_after="20", retry_after_ms="1500") == 1.5
    assert asked(retry_after="20", x_ms_retry_after_ms="2500") == 2.5
    assert asked(retry_after="20", retry_after_ms="soon") == 20
    assert asked(x_amz_retry_after="1500") == 1.5


def test_no_header_asks_for_nothing() -> None:
    assert asked() is None


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached. Please try again in 599ms. Visit", 0.599),
        ("Please try again in 6m0s.", 360),
        ("try again in 1h2m3.5s", 3723.5),
        ("Please retry in 31.25s.", 31.25),
        ("Please retry after 26 seconds.", 26),
        ("Try again in 1 minute 30 seconds", 90),
        ("try again in 2 hours", 7200),
        ("try again in 5 milliseconds", 0.005),
        ("Please try again in 599MS.", 0.599),
        ("try again in about 5 secs", 5),
        ("try again in 1d2h", 93_600),
        ("try again in 5 mins", 300),
        ("Please retry your request in 20s", 20),
        ("Please wait 30 seconds and try again", 30),
        ("the limit resets in 45 seconds", 45),
        ("wait until tomorrow", None),
        ("try again in 5 smiles", None),
        ("try again in a moment", None),
        ("please try again later", None),
        ("", None),
    ],
)
def test_a_message_may_ask_for_a_delay(message: str, seconds: float | None) -> None:
    assert hinted_delay(message) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("details", "seconds"),
    [
        ([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31s"}], 31),
        ([{"@type": "x.Help"}, {"@type": "google.rpc.RetryInfo", "retryDelay": "1.25s"}], 1.25),
        ([{"@type": "RetryInfo"}], None),
        ([{"@type": "a.RetryInfo", "retryDelay": {"seconds": "31", "nanos": 500_000_000}}], 31.5),
        ([{"@type": "a.RetryInfo", "retryDelay": {"seconds": -1}}], None),
        ([{"@type": "google.rpc.RetryInfo"}], None),
        ([{"@type": "google.rpc.RetryInfo", "retryDelay": "-1s"}], None),
        ([{"@type": "google.rpc.RetryInfo", "retryDelay": "1m"}], None),
        (["RetryInfo"], None),
        ({"retryDelay": "31s"}, None),
        (None, None),
    ],
)
def test_google_says_it_among_the_details(details: object, seconds: float | None) -> None:
    assert retry_info({"details": details}) == seconds


def test_recorded_headers_ask_for_what_they_ask(corpora: Path) -> None:
    recorded: dict[str, Any] = json.loads((corpora / "retry_after.json").read_text())
    for case in recorded["cases"]:
        head = HttpHead(429, tuple(case["headers"].items()))
        wanted = case["asked_seconds"]
        seconds = retry_after(head, now=recorded["now_unix"])
        assert seconds == (None if wanted is None else pytest.approx(wanted)), case
