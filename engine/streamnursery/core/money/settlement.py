"""What an attempt cost, from how far it got, what the provider says of it, and what we saw.

Rule 1: not sent, or refused with an answer that is no 2xx: it cost nothing.
Rule 2: whole: the provider's usage counts, where it can be believed; a count that is missing is our
        own, and one out of all proportion to our own is not believed.
Rule 3: cut or left after content had come: what was received is paid, by our own count, or by the
        provider's where that is more.
Rule 4: sent, and no content seen: it is uncertain, and keeps its estimate. A provider that took the
        request and said no before any content is paid for the input.
Rule 5: no count is ever negative: a budget never grows by a settlement.
"""

import attrs

from streamnursery.core.money.ledger_row import News
from streamnursery.core.money.pricing import cost
from streamnursery.values.errors import AttemptRecord, AttemptState, ProviderError
from streamnursery.values.prices import Price
from streamnursery.values.spending import Flag
from streamnursery.values.usage import Usage

_NO_USAGE = Usage()
_NO_FLAGS: frozenset[Flag] = frozenset()
_UNPRICED = frozenset({Flag.UNPRICED})
_FACTOR = 20
"""How far a provider's count may be from ours."""
_LONG_TOKEN = 12
"""Characters, on the average of an answer."""
_INPUT_SLACK = 200_000
_OUTPUT_SLACK = 100_000
"""Tokens beyond that: images and hidden reasoning are not in our count."""


@attrs.frozen
class Expected:
    """Our own figures of an attempt."""

    input_tokens: int
    output_tokens: int
    """What was reserved for."""
    received_tokens: int = 0
    """Output that was seen."""


@attrs.frozen
class AttemptEnd:
    """How an attempt ended."""

    state: AttemptState
    status: int | None = None
    usage: Usage | None = None
    refused: bool = False
    """The provider said no in its own words, in an answer that had begun as a good one."""

    @classmethod
    def of(cls, record: AttemptRecord) -> "AttemptEnd":
        """How a recorded attempt ended; usage that is our own estimate counts as none."""
        usage = record.usage
        reported = None if usage is None or usage.estimated else usage
        refused = isinstance(record.error, ProviderError)
        return cls(record.state, record.status, reported, refused)


@attrs.frozen
class Settlement:
    """What is to be booked."""

    news: News
    amount: int = 0
    usage: Usage = _NO_USAGE
    flags: frozenset[Flag] = frozenset()


def settlement(ending: AttemptEnd, price: Price | None, expected: Expected) -> Settlement:
    """`price` None counts as free, and is flagged."""
    unpriced = _UNPRICED if price is None else _NO_FLAGS
    if _refused(ending):
        return Settlement(News.RELEASE, flags=unpriced)
    if ending.state is AttemptState.MAYBE_SENT and not ending.refused:
        return Settlement(News.DOUBT, flags=unpriced)
    usage, flags = counted(ending, expected)
    amount = 0 if price is None else cost(price, usage)
    return Settlement(News.SETTLE, amount, usage, flags | unpriced)


def _refused(ending: AttemptEnd) -> bool:
    if ending.state is AttemptState.NOT_SENT:
        return True
    sent_nothing_back = ending.state is AttemptState.MAYBE_SENT
    return sent_nothing_back and ending.status is not None and not 200 <= ending.status < 300


def counted(ending: AttemptEnd, expected: Expected) -> tuple[Usage, frozenset[Flag]]:
    """The usage that is paid, and what is to be said about it."""
    told = ending.usage or _NO_USAGE
    flags: set[Flag] = set()
    ours, received = expected.input_tokens, expected.received_tokens
    bounds = (ours // _FACTOR, ours * _FACTOR + _INPUT_SLACK)
    spent = _believed(told.input_tokens, "input_tokens", told, bounds, flags)
    bounds = (received // _FACTOR, max(expected.output_tokens, received) * _FACTOR + _OUTPUT_SLACK)
    made = _believed(told.output_tokens, "output_tokens", told, bounds, flags)
    if spent is None or made is None:
        flags.add(Flag.ESTIMATED)
    if ending.state is not AttemptState.DONE and (made is None or made < received):
        # Usage that came before the cut may be of an earlier moment.
        flags.add(Flag.ESTIMATED)
        made = received
    spent = expected.input_tokens if spent is None else spent
    made = received if made is None else made
    cached = _part(told.cached_tokens, spent, flags)
    written = _part(told.cache_write_tokens, spent - (cached or 0), flags)
    usage = Usage(
        spent,
        made,
        cached,
        written,
        _part(told.reasoning_tokens, made, flags),
        cache_write_hour_tokens=_part(told.cache_write_hour_tokens, written or 0, flags),
        estimated=Flag.ESTIMATED in flags if flags else False,
    )
    return usage, frozenset(flags) if flags else _NO_FLAGS


def _believed(
    count: int | None,
    field: str,
    told: Usage,
    plausible: tuple[int, int],
    flags: set[Flag],
) -> int | None:
    """`count`, unless it is out of all proportion: below or above what is `plausible`."""
    least, most = plausible
    if field in told.refused or (count is not None and not least <= count <= most):
        flags.add(Flag.REJECTED)
        return None
    return count


def _part(count: int | None, whole: int, flags: set[Flag]) -> int | None:
    """A part that is larger than its whole makes the request cheaper, and is not believed."""
    if count is None or count <= whole:
        return count
    flags.add(Flag.REJECTED)
    return None


def received_tokens(content_events: int, characters: int) -> int:
    """Tokens of output that was seen. Most providers send one in an event; where an event has more
    text than a token can have, a token is taken for four characters."""
    if characters <= _LONG_TOKEN * content_events:
        return content_events
    return -(-characters // 4)
