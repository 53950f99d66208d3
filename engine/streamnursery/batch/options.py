"""What a run is asked to do with its rows."""

import attrs

from streamnursery.batch.lines import BatchRow, sampled
from streamnursery.values.errors import RequestError
from streamnursery.values.request import ChatRequest

_FRACTION = 1 << 32


@attrs.frozen
class Shard:
    """One of several machines' parts of the rows, by the hash of their ids: a row stays in its
    shard when the input grows."""

    number: int
    """From 1."""
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`i/n`, such as "2/7".

        Raises:
            RequestError: it is none.
        """
        number, mark, of = text.partition("/")
        if mark and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= 10_000:
            return cls(int(number), int(of))
        msg = f'a shard is written i/n with 1 <= i <= n, such as "2/7", not {text!r:.40}'
        raise RequestError(msg)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@attrs.frozen
class BatchOptions:
    """Which rows are asked for, and how."""

    samples: int = 1
    """Requests for each row; their ids end in #0, #1 ..."""
    limit: int | None = None
    """At most so many rows that are not done yet."""
    sample: float | None = None
    """Only this part of the rows, from 0 to 1, chosen by their ids: always the same ones."""
    shard: Shard | None = None
    retry_errors: bool = False
    """Ask again for rows that have failed."""
    dedupe: bool = False
    """Ask once for equal requests, and write the answer for each."""
    max_in_flight: int | None = None
    """Rows under way; None takes the engine's own limit."""
    grace: float = 10.0
    """Seconds that answers have to finish after a stop."""
    tenant: str | None = None
    """Who pays for all rows; None leaves it to each of them."""

    def __attrs_post_init__(self) -> None:
        problems = [
            f"{name} must be a whole number >= 1, not {value!r}"
            for name in ("samples", "limit", "max_in_flight")
            if (value := getattr(self, name)) is not None and not _count(value)
        ]
        if self.sample is not None and not 0 < self.sample <= 1:
            problems.append(f"sample must be a part of the rows, from 0 to 1, not {self.sample!r}")
        if not self.grace >= 0:
            problems.append(f"grace must be seconds >= 0, not {self.grace!r}")
        if problems:
            raise RequestError("; ".join(problems))

    def paid(self, request: ChatRequest) -> ChatRequest:
        """`request`, for the tenant that pays for all rows."""
        return request if self.tenant is None else attrs.evolve(request, tenant=self.tenant)

    def samples_of(self, row: BatchRow) -> list[BatchRow]:
        return sampled(row, self.samples)

    def wants(self, key: int) -> bool:
        """Whether a row whose id has the hash `key` belongs to this run."""
        if self.shard is not None and key % self.shard.of != self.shard.number - 1:
            return False
        return self.sample is None or (key >> 32) < self.sample * _FRACTION


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
