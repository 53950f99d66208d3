"""What the engine reports: lifecycle records, statistics, snapshots and spending."""

from streamnursery.facade.engine import DrainReport
from streamnursery.pipeline.channel import ChannelStatistics
from streamnursery.scheduler.run.observers import (
    ObserverBlocked,
    ObserverFailed,
    RecordStream,
)
from streamnursery.values.admission import (
    AdmissionOutcome,
    Explanation,
)
from streamnursery.values.cost import (
    Cost,
    Estimate,
    RouteEstimate,
)
from streamnursery.values.errors import (
    AttemptRecord,
    AttemptState,
)
from streamnursery.values.lifecycle import (
    Admitted,
    AttemptEnded,
    AttemptStarted,
    BudgetAlert,
    CircuitChanged,
    ConnectionLost,
    EndpointBeat,
    FirstToken,
    Hedged,
    Interrupted,
    LifecycleRecord,
    ModelChosen,
    NotAdmitted,
    Reconnected,
    Reconnecting,
    Resent,
    Retrying,
    RouteChanged,
    StreamEnded,
    StreamStarted,
)
from streamnursery.values.session import (
    SendOutcome,
    SessionState,
    SessionStatistics,
)
from streamnursery.values.snapshot import EngineSnapshot
from streamnursery.values.spending import SpendingReport
from streamnursery.values.statistics import (
    EngineStatistics,
    ModelStatistics,
    Quantiles,
)
from streamnursery.values.timings import Timings

__all__ = [
    "AdmissionOutcome",
    "Admitted",
    "AttemptEnded",
    "AttemptRecord",
    "AttemptStarted",
    "AttemptState",
    "BudgetAlert",
    "ChannelStatistics",
    "CircuitChanged",
    "ConnectionLost",
    "Cost",
    "DrainReport",
    "EndpointBeat",
    "EngineSnapshot",
    "EngineStatistics",
    "Estimate",
    "Explanation",
    "FirstToken",
    "Hedged",
    "Interrupted",
    "LifecycleRecord",
    "ModelChosen",
    "ModelStatistics",
    "NotAdmitted",
    "ObserverBlocked",
    "ObserverFailed",
    "Quantiles",
    "Reconnected",
    "Reconnecting",
    "RecordStream",
    "Resent",
    "Retrying",
    "RouteChanged",
    "RouteEstimate",
    "SendOutcome",
    "SessionState",
    "SessionStatistics",
    "SpendingReport",
    "StreamEnded",
    "StreamStarted",
    "Timings",
]
