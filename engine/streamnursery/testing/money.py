"""Checks an engine's money by adding it up again."""

from streamnursery.facade import Engine
from streamnursery.values.money import Money


def money_problems(engine: Engine) -> list[str]:
    """What does not add up, and every budget that admission has let pass."""
    spending = engine._spending
    report = spending.report()
    total = report.total
    problems = []
    open_rows = sum(reservation.row.reserved for reservation in spending.open.values())
    if spending.unlimited is not None:
        open_rows += sum(attempt.reserved for attempt in spending.unlimited.open)
    if total.reserved != open_rows:
        problems.append(f"{total.reserved} nanos are reserved, and the rows hold {open_rows}")
    if min(total.spent, total.reserved, total.uncertain) < 0:
        problems.append(f"money is below zero: {total}")
    for standing in report.budgets:
        taken = standing.spent + standing.reserved + standing.uncertain
        if standing.scope == "all" and not spending.store.shared:
            mine = [
                line.spent + line.reserved + line.uncertain
                for line in report.lines
                if line.day.startswith(standing.window)
            ]
            if sum(mine) != taken:
                problems.append(f"the {standing.span} account says {taken}, its rows {sum(mine)}")
        # Other processes do not know our holds, so they may reserve what they are for.
        taken += 0 if spending.store.shared else standing.held
        if standing.limit is not None and taken > standing.limit and not total.overrun:
            problems.append(
                f"{Money(taken)} are taken of the {standing.span} budget of "
                f"{standing.scope} {standing.name!r}, which is {Money(standing.limit)}"
            )
    return problems
