"""The life of one attempt's money, as a table. Late news is ignored: nothing is billed twice."""

from enum import Enum

import attrs

from streamnursery.values.spending import Figures, Flag, LedgerRow, RowState


class News(Enum):
    """What can become known of an attempt."""

    EXTEND = "extend"
    """Its stream outgrew what was reserved."""
    SETTLE = "settle"
    """Its cost is known."""
    RELEASE = "release"
    """It was not sent, or the provider refused it: it cost nothing."""
    DOUBT = "doubt"
    """It may have been sent, and its end was not seen."""


TRANSITIONS = {
    (RowState.SENDING, News.EXTEND): RowState.SENDING,
    (RowState.SENDING, News.SETTLE): RowState.SETTLED,
    (RowState.SENDING, News.RELEASE): RowState.RELEASED,
    (RowState.SENDING, News.DOUBT): RowState.UNCERTAIN,
    (RowState.UNCERTAIN, News.SETTLE): RowState.SETTLED,
    (RowState.UNCERTAIN, News.RELEASE): RowState.RELEASED,
}


_STEPS = tuple((before, news, after) for (before, news), after in TRANSITIONS.items())
"""The same as a list: an enumeration's member is hashed by a call."""


def _after(before: RowState, news: News) -> RowState | None:
    for state, heard, after in _STEPS:
        if state is before and heard is news:
            return after
    return None


@attrs.frozen
class Posting:
    """News of one row, to be booked."""

    row: str
    news: News
    amount: int = 0
    """The cost of a settlement; what an extension brings the reservation to, in all."""
    input_tokens: int = 0
    output_tokens: int = 0
    flags: frozenset[Flag] = frozenset()


def figures_of(row: LedgerRow) -> Figures:
    """What the row adds to each of its accounts."""
    return Figures(row.billed, row.reserved, row.uncertain)


def posted(row: LedgerRow, posting: Posting) -> LedgerRow:
    """The row after the news; the same object when it comes too late to matter."""
    state = _after(row.state, posting.news)
    if state is None:
        return row
    kept = (row.id, row.request, row.attempt, row.payer, row.at, row.day)
    if posting.news is News.EXTEND:
        total = max(row.estimate, posting.amount)
        return LedgerRow(*kept, total, total, state, flags=row.flags)
    flags = row.flags | posting.flags
    if posting.news is not News.SETTLE:
        doubt = row.estimate if posting.news is News.DOUBT else 0
        return LedgerRow(*kept, 0, row.estimate, state, flags=flags, uncertain=doubt)
    if posting.amount > row.estimate:
        flags |= {Flag.OVERRUN}
    tokens = (posting.input_tokens, posting.output_tokens)
    return LedgerRow(*kept, 0, row.estimate, state, posting.amount, *tokens, flags)


def change(before: LedgerRow, after: LedgerRow) -> Figures:
    """What the row's accounts gain or lose."""
    return Figures(
        after.billed - before.billed,
        after.reserved - before.reserved,
        after.uncertain - before.uncertain,
    )
