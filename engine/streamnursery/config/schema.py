"""Every key of a configuration. A new key is one line here and a field of its value."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias, get_args

import attrs

from streamnursery.config.credentials import HEADER, KEY, KEY_LIST, PROXY
from streamnursery.config.kinds import (
    COMMAND,
    FLAG,
    HEDGE,
    LADDER,
    MODELS,
    PART,
    PEM_FILE,
    QUERY,
    ROUTES,
    SERVER_PATH,
    SOCKET,
    URL,
    WEIGHT,
    Kind,
    choice,
    dialect_option,
    number,
    seconds,
    whole,
)
from streamnursery.config.money_kinds import LEDGER, MONEY, PERCENT, PERCENTAGES, PRICES, ZONE
from streamnursery.config.report import Place
from streamnursery.config.request_kinds import EXTRA, WORD
from streamnursery.config.rule_kinds import RULES
from streamnursery.values.budgets import BudgetMode, Budgets, UnknownPrice
from streamnursery.values.http import HttpVersion
from streamnursery.values.http2 import MAX_STREAMS, MAX_WINDOW, MIN_WINDOW, Http2Settings
from streamnursery.values.policy import AssistantPrefix, OnAbort, Patience, Retries
from streamnursery.values.routing_rules import DEFAULT_RULES
from streamnursery.values.session import Heartbeat, Pending, Reconnect, SessionSettings, WhenFull
from streamnursery.values.settings import Auth, Balance, Endpoint, EngineConfig
from streamnursery.values.tenant import Tenant
from streamnursery.wire.registry import DEFAULT, Dialects

ANY = "*"
"""Stands in a path for a name that the user chooses."""
PREFIX = "STREAMNURSERY_"
NO_DEFAULT = object()
"""Of a setting that holds only where it is given."""


@attrs.frozen
class Key:
    """One setting: how it is written, what its number counts, and what holds without it."""

    name: str
    kind: Kind
    unit: str = ""
    default: object = NO_DEFAULT
    formerly: str = ""
    """Its last name in earlier versions."""

    @property
    def place(self) -> Place:
        return tuple(self.name.split("."))


def _default(kind: type, field: str) -> object:
    """What the value itself takes, so that a default stands in one place only."""
    return getattr(attrs.fields(kind), field).default


def _engine(name: str, kind: Kind, unit: str = "") -> Key:
    return Key(f"engine.{name}", kind, unit, _default(EngineConfig, name))


def _endpoint(name: str, kind: Kind, unit: str = "") -> Key:
    return Key(f"endpoints.*.{name}", kind, unit, _default(Endpoint, name))


def _http2() -> list[Key]:
    kinds = [
        ("stream_window", whole(MIN_WINDOW, MAX_WINDOW), "bytes"),
        ("max_streams", whole(1, MAX_STREAMS), "streams"),
        ("max_connections", whole(1), "connections"),
        *((name, seconds(), "seconds") for name in ("ping_after", "ping_timeout", "idle")),
    ]
    return [Key(f"http2.{n}", kind, unit, _default(Http2Settings, n)) for n, kind, unit in kinds]


_NO_CLOCKS = ("min_tokens_per_second", "pace_window")


def _policies() -> list[tuple[str, Kind, str, object]]:
    clock, total = seconds("off"), seconds("auto", "off")
    clocks = [name for name in attrs.fields_dict(Patience) if name not in _NO_CLOCKS]
    patience = [(name, "seconds", total if name == "total" else clock) for name in clocks]
    patience.append(("min_tokens_per_second", "tokens per second", clock))
    patience.append(("pace_window", "seconds", seconds()))
    retries = [("attempts", whole(1), "attempts")]
    retries += [(name, seconds(), "seconds") for name in ("base", "cap")]
    retries.append(("retry_after_cap", seconds(zero=True), "seconds"))
    return [
        *((f"patience.{n}", kind, unit, _default(Patience, n)) for n, unit, kind in patience),
        *((f"retries.{n}", kind, unit, _default(Retries, n)) for n, kind, unit in retries),
    ]


def _request(table: str) -> list[Key]:
    kinds = [
        ("temperature", number(0, 2), ""),
        ("max_tokens", whole(1), "tokens"),
        ("top_p", number(0, 1), ""),
        ("reasoning_effort", WORD, ""),
        ("extra", EXTRA, ""),
    ]
    return [Key(f"{table}.{name}", kind, unit) for name, kind, unit in kinds]


def _rates(table: str) -> list[Key]:
    kinds = [(name, whole(1), _RATES[name]) for name in _RATES]
    limits = [Key(f"{table}.*.{name}", kind, unit) for name, kind, unit in kinds]
    return [*limits, Key(f"{table}.*.burst", PART, "of a minute's limit")]


_RATES = {
    "rpm": "requests per minute",
    "tpm": "tokens per minute",
    "input_tpm": "tokens per minute",
    "output_tpm": "tokens per minute",
}


def _budgets() -> list[Key]:
    mode = choice(*get_args(BudgetMode))
    kinds = [("daily", MONEY), ("monthly", MONEY), ("mode", mode)]
    scopes = ("models", "tenants", "endpoints")
    own = [
        ("soft_at", PERCENT),
        ("soft_wait", seconds(zero=True)),
        ("timezone", ZONE),
        ("alerts", PERCENTAGES),
        ("unknown_price", choice(*get_args(UnknownPrice))),
        ("ledger", LEDGER),
        ("durable", FLAG),
        ("keep_days", whole(1, _LONGEST)),
        ("uncertain_days", whole(1, _LONGEST)),
    ]
    return [
        Key("budgets.daily", MONEY, "per day"),
        Key("budgets.monthly", MONEY, "per month"),
        Key("budgets.mode", mode, "", _default(Budgets, "mode")),
        *(Key(f"budgets.{n}", kind, _UNITS.get(n, ""), _default(Budgets, n)) for n, kind in own),
        *(Key(f"budgets.{s}.*.{n}", kind, _UNITS.get(n, "")) for s in scopes for n, kind in kinds),
    ]


def _budget(table: str) -> list[Key]:
    kinds = [("daily", MONEY), ("monthly", MONEY), ("mode", choice(*get_args(BudgetMode)))]
    return [Key(f"{table}.*.budget.{n}", kind, _UNITS.get(n, "")) for n, kind in kinds]


def _sessions() -> list[Key]:
    parts: list[tuple[str, type, list[tuple[str, Kind, str]]]] = [
        ("heartbeat.", Heartbeat, [(n, seconds(), "seconds") for n in ("interval", "timeout")]),
        (
            "reconnect.",
            Reconnect,
            [
                ("attempts", whole(1), "attempts"),
                ("base", seconds(), "seconds"),
                ("factor", number(1), ""),
                ("jitter", number(0, 1), "of the wait"),
                ("cap", seconds(), "seconds"),
                ("retry_after_cap", seconds(), "seconds"),
                ("max_restarts", whole(1), "connections"),
                ("period", seconds(), "seconds"),
            ],
        ),
        (
            "pending.",
            Pending,
            [
                ("max_messages", whole(1), "messages"),
                ("max_bytes", whole(1), "bytes"),
                ("when_full", choice(*get_args(WhenFull)), ""),
            ],
        ),
        (
            "",
            SessionSettings,
            [
                *((n, seconds(), "seconds") for n in ("connect_timeout", "close_timeout")),
                ("max_message_bytes", whole(1), "bytes"),
                ("buffer_events", whole(1), "events"),
                ("buffer_bytes", whole(1), "bytes"),
                ("max_buffered_bytes", whole(1), "bytes"),
                ("max_in_flight", whole(1), "answers"),
                ("max_lanes", whole(1), "lanes"),
                ("max_age", seconds(), "seconds"),
            ],
        ),
    ]
    return [
        Key(f"sessions.{table}{name}", kind, unit, _default(owner, name))
        for table, owner, names in parts
        for name, kind, unit in names
    ]


_UNITS = {
    "daily": "per day",
    "monthly": "per month",
    "soft_wait": "seconds",
    "keep_days": "days",
    "uncertain_days": "days",
}
_LONGEST = 36_500
"""Days."""

_KEYS: tuple[Key, ...] = (
    _engine("max_streams", whole(0), "streams"),
    _engine("max_queued", whole(0), "requests"),
    Key("engine.max_queued_per_tenant", whole(0), "requests"),
    _engine("trust_env", FLAG),
    _engine("buffer_events", whole(1), "events"),
    _engine("buffer_bytes", whole(1), "bytes"),
    _engine("max_buffered_bytes", whole(1), "bytes"),
    _engine("max_relayed_bytes", whole(1), "bytes"),
    _engine("max_idle_connections", whole(0), "connections"),
    _engine("max_added_latency", seconds("off"), "seconds"),
    _engine("max_drain_seconds", seconds(), "seconds"),
    _engine("max_drain_bytes", whole(1), "bytes"),
    _engine("top_socket", SOCKET),
    *_http2(),
    Key("defaults.max_streams", whole(0), "streams", _default(EngineConfig, "max_streams")),
    *(Key(f"defaults.{name}", kind, unit, value) for name, kind, unit, value in _policies()),
    Key("defaults.on_interrupt", LADDER, "", _default(EngineConfig, "on_interrupt")),
    Key("defaults.on_abort", choice(*get_args(OnAbort)), "", _default(EngineConfig, "on_abort")),
    Key("defaults.model", WORD, "", _default(EngineConfig, "default_model")),
    *_request("defaults"),
    Key("endpoints.*.url", URL),
    Key("endpoints.*.key", KEY),
    Key("endpoints.*.keys", KEY_LIST),
    Key("endpoints.*.token_command", COMMAND),
    Key("endpoints.*.auth", choice(*get_args(Auth))),
    Key("endpoints.*.headers.*", HEADER),
    Key("endpoints.*.query.*", QUERY),
    _endpoint("ca_file", PEM_FILE),
    _endpoint("client_cert", PEM_FILE),
    _endpoint("client_key", PEM_FILE),
    _endpoint("proxy", PROXY),
    _endpoint("http", choice(*get_args(HttpVersion))),
    Key("endpoints.*.heartbeat.interval", seconds("off"), "seconds", None),
    Key("endpoints.*.heartbeat.timeout", seconds(), "seconds", 5.0),
    Key("endpoints.*.heartbeat.path", SERVER_PATH, "", "/models"),
    _endpoint("insecure", FLAG),
    _endpoint("deny_private", FLAG),
    Key("endpoints.*.max_streams", whole(0), "streams"),
    *_rates("endpoints"),
    _endpoint("learn_rates", FLAG),
    _endpoint("max_event_bytes", whole(1), "bytes"),
    _endpoint("propagate", FLAG),
    _endpoint("assistant_prefix", choice(*get_args(AssistantPrefix))),
    Key("models.*.routes", ROUTES),
    Key("models.*.max_streams", whole(0, word="adaptive"), "streams"),
    *(
        Key(f"models.*.adaptive.{name}", whole(1), "streams")
        for name in ("min_streams", "max_streams", "start")
    ),
    *_rates("models"),
    *(Key(f"models.*.{name}", kind, unit) for name, kind, unit, _ in _policies()),
    Key("models.*.fallback", MODELS),
    Key("models.*.on_interrupt", LADDER),
    Key("models.*.on_abort", choice(*get_args(OnAbort))),
    Key("models.*.hedge_after", HEDGE, "seconds"),
    Key("models.*.downgrade_after", seconds("off"), "seconds"),
    Key("models.*.downgrade_to_higher_price", FLAG, formerly="downgrade_dearer"),
    Key("models.*.assistant_prefix", choice(*get_args(AssistantPrefix))),
    Key("models.*.price", PRICES, "per million tokens"),
    Key("models.*.quality", number(0, 10)),
    Key("models.*.context", whole(1), "tokens"),
    Key("models.*.tools", FLAG),
    Key("models.*.reasoning", FLAG),
    Key("models.*.ttft", seconds(), "seconds"),
    Key("models.*.balance", choice(*get_args(Balance))),
    *_request("models.*"),
    Key("tenants.*.weight", WEIGHT, "", _default(Tenant, "weight")),
    Key("tenants.*.max_queued", whole(0), "requests"),
    Key("tenants.*.max_streams", whole(0), "streams"),
    *_rates("tenants"),
    *_budget("tenants"),
    Key("groups.*.models", MODELS),
    Key("groups.*.max_streams", whole(0), "streams"),
    Key("groups.*.weight", WEIGHT),
    *_rates("groups"),
    *_budget("groups"),
    *_budgets(),
    Key("routing.rules", RULES, "", DEFAULT_RULES),
    *_sessions(),
)

Node: TypeAlias = Key | Mapping[str, "Node"]


@attrs.frozen
class Schema:
    """Every key of a configuration whose endpoints may speak certain dialects."""

    keys: tuple[Key, ...]
    tree: Mapping[str, Node]


def schema_of(dialects: Dialects) -> Schema:
    """The keys that every configuration has, and those of the dialects that are loaded."""
    options = dialects.options().values()
    own = [
        Key("endpoints.*.dialect", choice(*dialects.names), "", DEFAULT),
        *(
            Key(f"endpoints.*.{name}", dialect_option(option), "", option.default)
            for ((_, option), *_) in options
            for name in [option.name]
        ),
    ]
    at = next(i for i, key in enumerate(_KEYS) if key.name == "endpoints.*.auth")
    keys = (*_KEYS[:at], *own, *_KEYS[at:])
    return Schema(keys, _tree(keys))


def _tree(keys: Iterable[Key]) -> dict[str, Node]:
    root: dict[str, Node] = {}
    for key in keys:
        node = root
        for part in key.place[:-1]:
            below = node.setdefault(part, {})
            assert isinstance(below, dict)
            node = below
        node[key.place[-1]] = key
    return root


KEYS: tuple[Key, ...] = schema_of(Dialects()).keys
"""Without dialects of other packages."""


def variable_name(place: Place) -> str:
    """The environment variable of a setting: the path in capitals, other signs as underscores,
    without `engine`."""
    parts = place[1:] if place[0] == "engine" else place
    text = "_".join(parts).upper()
    return PREFIX + "".join(c if c.isascii() and c.isalnum() else "_" for c in text)
