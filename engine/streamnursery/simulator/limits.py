"""Rate limits as a provider keeps them: buckets that refill steadily."""

from math import ceil

import attrs

from streamnursery.simulator.script import RateLimit
from streamnursery.wire.openai_chat.server import ApiError


class _LimitBucket:
    def __init__(self, per_minute: int, now: float) -> None:
        self.size = per_minute
        self._level = float(per_minute)
        self._as_of = now

    def level(self, now: float) -> float:
        self._level = min(self.size, self._level + (now - self._as_of) * self.size / 60)
        self._as_of = now
        return self._level

    def take(self, amount: float) -> None:
        self._level -= amount

    def seconds_until(self, amount: float, now: float) -> float:
        missing = amount - self.level(now)
        # A request that comes back when it was told to must be let in, despite rounding.
        return missing * 60 / self.size if missing > 1e-6 else 0.0


@attrs.define
class _LimitBuckets:
    requests: _LimitBucket | None
    tokens: _LimitBucket | None


class RateLimits:
    """The buckets of all models and limits of one provider."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[RateLimit, str], _LimitBuckets] = {}

    def admit(self, limit: RateLimit, model: str, tokens: int, now: float) -> list[tuple[str, str]]:
        """Take one request of `tokens` tokens, and return the headers that say what is left.

        Raises:
            ApiError: 429 with Retry-After; nothing was taken.
        """
        buckets = self._buckets.get((limit, model))
        if buckets is None:
            buckets = self._buckets[limit, model] = _LimitBuckets(
                _LimitBucket(limit.rpm, now) if limit.rpm else None,
                _LimitBucket(limit.tpm, now) if limit.tpm else None,
            )
        wanted = [(buckets.requests, "requests", 1.0), (buckets.tokens, "tokens", float(tokens))]
        asked = [(bucket, kind, amount) for bucket, kind, amount in wanted if bucket]
        for bucket, kind, amount in asked:
            wait = bucket.seconds_until(amount, now)
            if wait > 0:
                raise _refusal(bucket, kind, amount, wait, _headers(buckets, now), now)
        for bucket, _, amount in asked:
            bucket.take(amount)
        return _headers(buckets, now)


def _refusal(
    bucket: _LimitBucket,
    kind: str,
    amount: float,
    wait: float,
    headers: list[tuple[str, str]],
    now: float,
) -> ApiError:
    short = "RPM" if kind == "requests" else "TPM"
    used = bucket.size - bucket.level(now)
    message = (
        f"Rate limit reached on {kind} per min ({short}): Limit {bucket.size}, Used {used:.0f}, "
        f"Requested {amount:.0f}. Please try again in {duration(wait)}."
    )
    after = [("retry-after", str(ceil(wait))), ("retry-after-ms", str(ceil(wait * 1000)))]
    return ApiError(429, message, code="rate_limit_exceeded", kind=kind, headers=(*headers, *after))


def _headers(buckets: _LimitBuckets, now: float) -> list[tuple[str, str]]:
    found = []
    for kind, bucket in (("requests", buckets.requests), ("tokens", buckets.tokens)):
        if bucket:
            level = bucket.level(now)
            found += [
                (f"x-ratelimit-limit-{kind}", str(bucket.size)),
                (f"x-ratelimit-remaining-{kind}", str(max(0, int(level)))),
                (f"x-ratelimit-reset-{kind}", duration((bucket.size - level) * 60 / bucket.size)),
            ]
    return found


def duration(seconds: float) -> str:
    """As Go prints it: 12ms, 1.5s, 6m0s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    text = f"{round(rest, 3):g}s"
    return f"{minutes:.0f}m{text}" if minutes else text
