"""Days and months of a zone: G4."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from streamnursery.core.money.windows import day_of, elapsed, reset_text, window

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("moment", "zone", "hours"),
    [
        ("2026-03-29T12:00:00+02:00", "Europe/Berlin", 23),
        ("2026-10-25T12:00:00+01:00", "Europe/Berlin", 25),
        ("2026-11-27T12:00:00+00:00", "UTC", 24),
        ("2018-11-04T12:00:00-02:00", "America/Sao_Paulo", 23),  # midnight is skipped
        ("2026-04-24T12:00:00+03:00", "Africa/Cairo", 23),  # so it is here
        ("2026-11-01T12:00:00-05:00", "America/Havana", 25),  # midnight comes twice
    ],
)
def test_a_day_is_as_long_as_its_zone_makes_it(moment: str, zone: str, hours: int) -> None:
    found = window("daily", at(moment), ZoneInfo(zone))
    assert found.key == moment[:10]
    assert found.ends_at - found.starts_at == hours * 3600
    assert day_of(found.starts_at, ZoneInfo(zone)).isoformat() == found.key
    assert day_of(found.starts_at - 1, ZoneInfo(zone)) < date.fromisoformat(found.key)


@pytest.mark.parametrize(
    ("moment", "key", "days"),
    [
        ("2026-01-31T23:59:59+00:00", "2026-01", 31),
        ("2026-02-01T00:00:00+00:00", "2026-02", 28),
        ("2028-02-29T23:59:59+00:00", "2028-02", 29),
        ("2026-12-31T23:59:59+00:00", "2026-12", 31),
    ],
)
def test_a_month_ends_where_the_next_begins(moment: str, key: str, days: int) -> None:
    found = window("monthly", at(moment), UTC)
    assert found.key == key
    assert found.ends_at - found.starts_at == days * 86_400


def test_the_day_is_the_zones_and_not_utcs() -> None:
    late = at("2026-06-30T23:30:00+00:00")
    assert window("daily", late, BERLIN).key == "2026-07-01"
    assert window("monthly", late, BERLIN).key == "2026-07"
    assert window("monthly", late, UTC).key == "2026-06"


def test_a_leap_second_is_no_second_of_ours() -> None:
    # Unix time repeats 2016-12-31T23:59:59; the date does not change early.
    assert window("daily", at("2016-12-31T23:59:59+00:00"), UTC).key == "2016-12-31"
    assert window("daily", at("2016-12-31T23:59:59+00:00") + 1, UTC).key == "2017-01-01"


def test_the_reset_is_told_in_the_zone() -> None:
    found = window("daily", at("2026-03-28T12:00:00+01:00"), BERLIN)
    assert reset_text(found.ends_at, BERLIN) == "2026-03-29 00:00 CET"


def test_how_much_of_a_window_is_over() -> None:
    found = window("daily", at("2026-06-01T06:00:00+00:00"), UTC)
    assert elapsed(found, at("2026-06-01T06:00:00+00:00")) == 0.25
    assert elapsed(found, at("2026-06-03T00:00:00+00:00")) == 1.0
    assert elapsed(found, at("2026-05-03T00:00:00+00:00")) == 0.0
