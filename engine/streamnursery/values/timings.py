"""When things happened. All times are on trio's clock, in seconds."""

from __future__ import annotations

import attrs


@attrs.frozen
class Timings:
    """Where a request's time went; None where it did not get so far."""

    started_at: float
    """Entry of `stream()`."""
    admitted_at: float | None = None
    first_token_at: float | None = None
    """The first non-empty content, reasoning, refusal or tool delta."""
    last_token_at: float | None = None
    ended_at: float | None = None
    content_events: int = 0

    @property
    def queue_time(self) -> float | None:
        return None if self.admitted_at is None else self.admitted_at - self.started_at

    @property
    def time_to_first_token(self) -> float | None:
        """Seconds from the entry of `stream()`, queue time included."""
        return None if self.first_token_at is None else self.first_token_at - self.started_at

    @property
    def provider_time_to_first_token(self) -> float | None:
        """Seconds from admission."""
        if self.first_token_at is None or self.admitted_at is None:
            return None
        return self.first_token_at - self.admitted_at

    @property
    def duration(self) -> float | None:
        return None if self.ended_at is None else self.ended_at - self.started_at

    def time_per_output_token(self, output_tokens: int | None = None) -> float | None:
        """(last - first) / (n - 1) seconds; `n` counts content events unless given."""
        n = self.content_events if output_tokens is None else output_tokens
        if self.first_token_at is None or self.last_token_at is None or n < 2:
            return None
        return (self.last_token_at - self.first_token_at) / (n - 1)
