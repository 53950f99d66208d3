"""What is left of a provider's limits, as its headers say it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.values.http import HttpHead
from streamnursery.values.rates import RateNews
from streamnursery.wire.rate_headers import named_reset, rate_news

NOW = 1_700_000_000.0


def news(**headers: str) -> tuple[RateNews, ...]:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return rate_news(HttpHead(200, pairs), now=NOW)


def test_openais_headers() -> None:
    found = news(
        x_ratelimit_limit_requests="5000",
        x_ratelimit_limit_tokens="800000",
        x_ratelimit_remaining_requests="4999",
        x_ratelimit_remaining_tokens="799976",
        x_ratelimit_reset_requests="12ms",
        x_ratelimit_reset_tokens="6m0.5s",
    )
    assert found == (
        RateNews("rpm", 5000, 4999, 0.012),
        RateNews("tpm", 800000, 799976, 360.5),
    )


def test_anthropics_headers() -> None:
    found = news(
        anthropic_ratelimit_requests_limit="50",
        anthropic_ratelimit_requests_remaining="49",
        anthropic_ratelimit_requests_reset="2023-11-14T22:13:25Z",
        anthropic_ratelimit_input_tokens_limit="40000",
        anthropic_ratelimit_input_tokens_remaining="0",
        anthropic_ratelimit_input_tokens_reset="2023-11-14T22:13:20.500000000+00:00",
        anthropic_ratelimit_output_tokens_remaining="8000",
    )
    assert found == (
        RateNews("rpm", 50, 49, 5.0),
        RateNews("input_tpm", 40000, 0, 0.5),
        RateNews("output_tpm", None, 8000, None),
    )


@pytest.mark.parametrize("value", ["-1", "", "many", "1e9", "0x10", "9" * 16, "NaN", "1,000"])
def test_what_is_left_in_no_number_is_no_news(value: str) -> None:
    assert news(x_ratelimit_limit_requests="5", x_ratelimit_remaining_requests=value) == ()


@pytest.mark.parametrize("value", ["0", "-1", "none", ""])
def test_a_limit_of_nothing_is_no_limit(value: str) -> None:
    found = news(x_ratelimit_limit_tokens=value, x_ratelimit_remaining_tokens="7")
    assert found == (RateNews("tpm", None, 7, None),)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1h2m3s", 3723.0),
        ("20", 20.0),
        ("0.5", 0.5),
        ("0s", 0.0),
        ("5us", 5e-6),
        ("2023-11-14T22:13:10Z", 0.0),
        ("2023-13-14T22:13:10Z", None),
        ("soon", None),
        ("-3s", None),
        ("1d", None),
        ("1" * 65, None),
    ],
)
def test_resets_are_durations_seconds_or_dates(value: str, seconds: float | None) -> None:
    (found,) = news(x_ratelimit_remaining_requests="1", x_ratelimit_reset_requests=value)
    assert found.reset == (None if seconds is None else pytest.approx(seconds))


def head(**headers: str) -> HttpHead:
    return HttpHead(429, tuple((name.replace("_", "-"), value) for name, value in headers.items()))


def test_a_table_says_what_a_reset_means() -> None:
    for name, kind, period, renewed in (
        ("x_ratelimit_{}_requests", "rpm", 60, False),
        ("x_rate_limit_{}_tokens", "tpm", 60, False),
        ("anthropic_ratelimit_input_tokens_{}", "input_tpm", 60, False),
        ("x_ratelimit_{}_requests_day", "rpd", 86_400, True),
        ("x_ratelimit_{}_tokens_minute", "tpm", 60, True),
        ("x_ratelimit_{}", "rpm", 60, True),
        ("ratelimit_{}", "rpm", 60, True),
    ):
        values = {"limit": "100", "remaining": "7", "reset": "30"}
        (found,) = news(**{name.format(what): value for what, value in values.items()})
        assert found == RateNews(kind, 100, 7, 30.0, period, renewed)


def test_a_reset_may_be_unix_time() -> None:
    for value in (f"{NOW + 90:.0f}", f"{(NOW + 90) * 1000:.0f}"):
        (found,) = news(x_ratelimit_limit="10", x_ratelimit_remaining="0", x_ratelimit_reset=value)
        assert found.reset == pytest.approx(90, abs=0.6)


def test_the_limit_that_was_hit_names_the_wait() -> None:
    def wait(**headers: str) -> float | None:
        return named_reset(head(**headers), now=NOW)

    requests = {
        "x_ratelimit_limit_requests": "100",
        "x_ratelimit_remaining_requests": "0",
        "x_ratelimit_reset_requests": "12s",
    }
    tokens = {
        "x_ratelimit_limit_tokens": "30000",
        "x_ratelimit_remaining_tokens": "15000",
        "x_ratelimit_reset_tokens": "30s",
    }
    assert wait(**requests, **tokens) == 12
    assert wait(**tokens) == 30
    assert wait(x_rate_limit_reset_tokens="55") == 55  # Azure, and nothing else
    assert wait(x_ratelimit_remaining_tokens="0") is None
    assert wait(x_ratelimit_reset_tokens="-1") is None


texts = st.text(max_size=80) | st.sampled_from([
    "-1",
    "0",
    "17",
    "12ms",
    "6m0s",
    "2026-01-01T00:00:00Z",
])
kinds = st.sampled_from(["requests", "tokens", "input-tokens", "output-tokens", "images"])
whats = st.sampled_from(["limit", "remaining", "reset", "policy"])
names = st.builds("x-ratelimit-{}-{}".format, whats, kinds) | st.builds(
    "anthropic-ratelimit-{}-{}".format, kinds, whats
)


@given(st.lists(st.tuples(names, texts), max_size=12))
def test_nothing_that_a_header_says_is_an_error(pairs: list[tuple[str, str]]) -> None:
    for found in rate_news(HttpHead(200, tuple(pairs)), now=NOW):
        assert found.remaining >= 0
        assert found.limit is None or found.limit > 0
        assert found.reset is None or found.reset >= 0
