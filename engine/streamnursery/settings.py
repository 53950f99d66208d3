"""A configuration as values, what its fields are made of, and calls of your own as values."""

from streamnursery.values.budgets import (
    Budget,
    Budgets,
    GroupBudget,
)
from streamnursery.values.call_options import Call
from streamnursery.values.http2 import Http2Settings
from streamnursery.values.money import Money
from streamnursery.values.origin import BaseUrl
from streamnursery.values.policy import (
    Patience,
    Priority,
    Retries,
)
from streamnursery.values.prices import (
    Price,
    Tier,
    TokenRates,
)
from streamnursery.values.rates import Rates
from streamnursery.values.request_defaults import RequestDefaults
from streamnursery.values.secret import Secret
from streamnursery.values.session import (
    EndpointHeartbeat,
    Heartbeat,
    Pending,
    Reconnect,
    SessionSettings,
)
from streamnursery.values.settings import (
    Endpoint,
    EngineConfig,
    ModelSettings,
    Route,
)
from streamnursery.values.tenant import Group, Tenant

__all__ = [
    "BaseUrl",
    "Budget",
    "Budgets",
    "Call",
    "Endpoint",
    "EndpointHeartbeat",
    "EngineConfig",
    "Group",
    "GroupBudget",
    "Heartbeat",
    "Http2Settings",
    "ModelSettings",
    "Money",
    "Patience",
    "Pending",
    "Price",
    "Priority",
    "Rates",
    "Reconnect",
    "RequestDefaults",
    "Retries",
    "Route",
    "Secret",
    "SessionSettings",
    "Tenant",
    "Tier",
    "TokenRates",
]
