"""Why a demand does not even begin to wait, in words that say what to do."""

from streamnursery.scheduler.admission.lane import Blocked, Lane
from streamnursery.values.demand import Demand
from streamnursery.values.errors import OverloadedError, TooManyTokensError
from streamnursery.values.refused import MANY_AT_ONCE


def queue_full(waiting: int, most: int) -> OverloadedError:
    """The engine's queue."""
    return OverloadedError(
        f"{waiting} requests wait already, the limit is max_queued = {most}; {MANY_AT_ONCE}"
    )


def tenant_full(tenant: str, most: int) -> OverloadedError:
    """A tenant's share of it."""
    return OverloadedError(
        f"{most} requests of tenant {tenant!r} wait already, which is its max_queued; send fewer "
        "at once, or raise it"
    )


def too_large(lane: Lane, demand: Demand) -> TooManyTokensError | None:
    """Why `demand` can never pass, however long it waits."""
    for limit in lane.limits:
        shortage = limit.rates.impossible(demand)
        if shortage is not None:
            return TooManyTokensError(
                f"the request alone needs {shortage.units} of {Blocked(limit, shortage)}; ask for "
                "fewer max_tokens, shorten the prompt, or raise the limit"
            )
    return None
