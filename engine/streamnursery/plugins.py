"""Interfaces that a program may implement: dialects, ledger stores, routing; and what they use."""

from streamnursery.core.money.ledger import (
    Ledger,
    Shortfall,
)
from streamnursery.core.money.ledger_row import Posting
from streamnursery.core.routing.route_plan import (
    PlannedRoute,
    Role,
    RoutePlan,
)
from streamnursery.core.routing.router import (
    Candidate,
    Decision,
    Needs,
    RoutingPolicy,
)
from streamnursery.pipeline.channel import Channel
from streamnursery.scheduler.money.ledger_store import (
    LedgerStore,
)
from streamnursery.values.spending import (
    Figures,
    LedgerRow,
    Payer,
)
from streamnursery.wire.dialect import (
    Cursor,
    Dialect,
    EndpointOption,
    ResumableDialect,
    Resumption,
    SessionDialect,
    StreamDecoder,
)
from streamnursery.wire.sse_stream import SseStream

__all__ = [
    "Candidate",
    "Channel",
    "Cursor",
    "Decision",
    "Dialect",
    "EndpointOption",
    "Figures",
    "Ledger",
    "LedgerRow",
    "LedgerStore",
    "Needs",
    "Payer",
    "PlannedRoute",
    "Posting",
    "ResumableDialect",
    "Resumption",
    "Role",
    "RoutePlan",
    "RoutingPolicy",
    "SessionDialect",
    "Shortfall",
    "SseStream",
    "StreamDecoder",
]
