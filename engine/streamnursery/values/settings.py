"""A whole configuration, as values; `streamnursery.config` makes them from files and variables."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs
from attrs.validators import gt, in_, instance_of, matches_re, optional

from streamnursery.values.budgets import Budgets
from streamnursery.values.http import HttpVersion, Peer
from streamnursery.values.http2 import Http2Settings
from streamnursery.values.origin import BaseUrl
from streamnursery.values.policy import (
    Adaptive,
    AssistantPrefix,
    HedgeAfter,
    OnAbort,
    OnInterrupt,
    Patience,
    Retries,
    hedge_problem,
    is_seconds,
    ladder,
    whole_number,
)
from streamnursery.values.prices import Price
from streamnursery.values.rates import Rates
from streamnursery.values.request_defaults import NO_DEFAULTS, RequestDefaults
from streamnursery.values.routing_rules import DEFAULT_RULES, RoutingRule
from streamnursery.values.secret import RenewableSecret, Secret
from streamnursery.values.session import EndpointHeartbeat, SessionSettings
from streamnursery.values.tenant import Group, Tenant

Key: TypeAlias = Secret | tuple[str, ...]
"""A key, or the program and the arguments that print it."""
Auth = Literal["bearer", "api-key", "x-api-key", "x-goog-api-key", "none"]
Balance = Literal["primary", "p2c", "prefix"]


def count_validator(_: object, field: "attrs.Attribute[int]", value: object) -> None:
    """A limit is a whole number, 0 or more; 0 admits nothing until it is raised."""
    whole_number(field.name, value, low=0)


def _buffer_validator(_: object, field: "attrs.Attribute[int]", value: object) -> None:
    whole_number(field.name, value, low=1)


def _ladder_validator(_: object, __: object, value: tuple[OnInterrupt, ...] | None) -> None:
    if value is not None:
        ladder(value)


def _hedge_validator(_: object, __: object, value: object) -> None:
    problem = hedge_problem(value)
    if problem is not None:
        raise ValueError(problem)


def _latency_validator(_: object, field: "attrs.Attribute[float]", value: object) -> None:
    if value is not None and not is_seconds(value):
        msg = f"{field.name} must be seconds > 0, or None for no rest, not {value!r}"
        raise ValueError(msg)


@attrs.frozen
class Endpoint:
    """A base URL with its own credential and dialect."""

    name: str = attrs.field(validator=matches_re(r"[^\s/]+"))
    url: BaseUrl
    key: Secret | None = None
    more_keys: tuple[Key, ...] = attrs.field(default=(), repr=False)
    """Further ones; each has the endpoint's limits for itself."""
    missing_key: str = ""
    """Why a credential that was asked for is absent; a request to this endpoint is refused with
    it. Empty when nothing is missing, also where no key was asked for."""
    token_command: tuple[str, ...] = attrs.field(default=(), repr=False)
    """A program and its arguments that print an access token, instead of a key."""
    dialect: str = ""
    """The wire language; empty: the registry's default."""
    auth: Auth | None = None
    """How the key is sent; None: as the dialect does."""
    headers: Mapping[str, str | Secret] = attrs.field(factory=dict, repr=False)
    query: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    ca_file: str = ""
    client_cert: str = ""
    """PEM file of the certificate that we show the server; empty: none."""
    client_key: str = ""
    """PEM file of its private key; empty: it stands in `client_cert` too."""
    proxy: str = attrs.field(default="", repr=False)
    http: HttpVersion = "auto"
    options: Mapping[str, bool | str] = attrs.field(factory=dict)
    """Settings that its dialect reads, by name."""
    heartbeat: EndpointHeartbeat = attrs.field(factory=EndpointHeartbeat)
    insecure: bool = False
    """Talk TLS without checking the certificate; warns when the engine opens."""
    deny_private: bool = False
    """Refuse names that resolve to private or local addresses."""
    max_streams: int | None = attrs.field(default=None, validator=optional(count_validator))
    """Slots of this endpoint over all models; None: no limit of its own."""
    rates: Rates = attrs.field(default=Rates(), validator=instance_of(Rates))
    """Limits per minute over all models."""
    learn_rates: bool = True
    """Obey what the answers' own headers say is left of the provider's limits."""
    max_event_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=count_validator)
    """The longest line and the longest event of an answer; an image may stand in one."""
    propagate: bool = False
    """Send it the `traceparent` of each attempt (W3C Trace Context), where tracing is on."""
    assistant_prefix: AssistantPrefix = "off"
    """How its models are asked to go on with an answer that broke off."""

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Its key, and the headers that are credentials."""
        held = (self.key, *self.more_keys, *self.headers.values())
        return tuple(value for value in held if isinstance(value, Secret))

    @property
    def exposed_key_file(self) -> bool:
        """Whether every user of the machine may read a file that holds one of them."""
        kept = (secret for secret in self.secrets if isinstance(secret, RenewableSecret))
        return any(secret.readable_by_others for secret in kept)

    @property
    def peer(self) -> Peer:
        return Peer(
            self.url.origin,
            ca_file=self.ca_file,
            client_cert=self.client_cert,
            client_key=self.client_key,
            proxy=self.proxy,
            insecure=self.insecure,
            deny_private=self.deny_private,
            http=self.http,
        )


@attrs.frozen(cache_hash=True)
class Route:
    """A model at an endpoint."""

    endpoint: str
    model: str
    """The model's name on the wire."""
    name: str = attrs.field(init=False, repr=False, eq=False)
    """As `str`."""

    @name.default
    def _as_text(self) -> str:
        return f"{self.endpoint}/{self.model}"

    def __str__(self) -> str:
        return self.name


@attrs.frozen
class ModelSettings:
    """One model: where it is served and within what limits. None takes the default."""

    name: str
    routes: tuple[Route, ...] = ()
    """Primary first, backups after it; empty: this name at the default endpoint."""
    max_streams: int | Literal["adaptive"] | None = attrs.field(default=None)
    """Slots; "adaptive" lets those of each route follow the provider."""
    adaptive: Adaptive = attrs.field(default=Adaptive(), validator=instance_of(Adaptive))
    """Within what bounds, where `max_streams` is "adaptive"."""
    rates: Rates = attrs.field(default=Rates(), validator=instance_of(Rates))
    """Limits per minute."""
    patience: Patience | None = None
    retries: Retries | None = None
    fallback: tuple[str, ...] = ()
    """Models to ask when no route of this one answers, in order."""
    on_interrupt: tuple[OnInterrupt, ...] | None = attrs.field(
        default=None, validator=_ladder_validator
    )
    on_abort: OnAbort | None = attrs.field(
        default=None, validator=optional(in_(("cancel", "drain")))
    )
    downgrade_after: float | None = attrs.field(default=None, validator=optional(gt(0)))
    """Seconds in the queue after which a request goes to the next fallback model; None: never."""
    downgrade_to_higher_price: bool = False
    """Also to a model that costs more."""
    hedge_after: HedgeAfter = attrs.field(default="off", validator=_hedge_validator)
    assistant_prefix: AssistantPrefix | None = None
    """None takes the endpoint's."""
    price: tuple[Price, ...] = ()
    """What it costs from which day on; empty: as published, where that is known."""
    quality: float | None = None
    """From 0 to 10, for the choice among models."""
    context: int | None = None
    """Tokens of input and output that it takes together."""
    tools: bool | None = None
    """Whether it calls tools; None: as known, else yes."""
    reasoning: bool = False
    """It may think for minutes before its first token, whatever a request asks for."""
    ttft: float | None = None
    """Seconds to the first token, believed until there are enough measurements."""
    balance: Balance = "primary"
    """How a request finds its first route."""
    request: RequestDefaults = attrs.field(
        default=NO_DEFAULTS, validator=instance_of(RequestDefaults)
    )
    """Fields of requests for it that do not state them."""

    @max_streams.validator
    def _check_max_streams(self, field: "attrs.Attribute[Any]", value: object) -> None:
        if value is not None and value != "adaptive":
            whole_number(field.name, value, low=0)

    @property
    def slots(self) -> int | None:
        """A fixed number of slots; None where there is none of its own."""
        return self.max_streams if isinstance(self.max_streams, int) else None


@attrs.frozen
class ProviderNames:
    """What a provider calls its models, at its own server."""

    families: tuple[str, ...] = ()
    """How the names begin that are its own."""
    spellings: Mapping[str, str] = attrs.field(factory=dict)
    """Other ways to write a name, with the one that its API takes."""


@attrs.frozen
class EngineConfig:
    """Everything `open_engine` needs."""

    max_streams: int = attrs.field(default=1000, validator=count_validator)
    """Slots over all models."""
    max_queued: int = attrs.field(default=50_000, validator=count_validator)
    """Requests that may wait for a slot; the next is refused with `OverloadedError`."""
    max_queued_per_tenant: int | None = attrs.field(
        default=None, validator=optional(count_validator)
    )
    """The same for each tenant that states none; None: as many as the engine lets wait."""
    tenants: Mapping[str, Tenant] = attrs.field(factory=dict)
    """Weights and bounds of those on whose behalf requests are made; others have weight 1."""
    groups: Mapping[str, Group] = attrs.field(factory=dict)
    """Limits that several models share."""
    default_max_streams: int = attrs.field(
        default=attrs.Factory(lambda self: self.max_streams, takes_self=True),
        validator=count_validator,
    )
    """Slots of a model that states none; by default as many as there are over all models. Without
    a smaller one the slots of a route follow the provider from its first 429 on."""
    patience: Patience = attrs.field(default=Patience(), validator=instance_of(Patience))
    retries: Retries = attrs.field(default=Retries(), validator=instance_of(Retries))
    on_interrupt: tuple[OnInterrupt, ...] = attrs.field(
        default=("fail",), validator=_ladder_validator
    )
    on_abort: OnAbort = attrs.field(default="cancel", validator=in_(("cancel", "drain")))
    max_drain_seconds: float = attrs.field(default=30.0, validator=gt(0))
    """How long an attempt without a reader is read on, where `on_abort` is "drain"."""
    max_drain_bytes: int = attrs.field(default=1024 * 1024, validator=_buffer_validator)
    """And how much of it."""
    request: RequestDefaults = attrs.field(
        default=NO_DEFAULTS, validator=instance_of(RequestDefaults)
    )
    """Fields of requests that neither state them nor have them from their model."""
    default_model: str = ""
    """The model of a request that names none; empty: it must."""
    endpoints: Mapping[str, Endpoint] = attrs.field(factory=dict)
    models: Mapping[str, ModelSettings] = attrs.field(factory=dict)
    default_endpoint: str | None = None
    """Serves models that no entry of `models` names; None: unknown models are an error."""
    provider_names: Mapping[str, ProviderNames] = attrs.field(factory=dict)
    """The endpoints that are a known provider's own server, with the names of its models."""
    unread_variables: tuple[tuple[str, str], ...] = ()
    """Providers whose variables are set and not used, each with its variable: a mapping uses only
    those that it names."""
    trust_env: bool = False
    """Obey HTTP_PROXY, NO_PROXY, SSL_CERT_FILE and the like."""
    buffer_events: int = attrs.field(default=1024, validator=_buffer_validator)
    """Unread events per stream before the provider is held back."""
    buffer_bytes: int = attrs.field(default=256 * 1024, validator=_buffer_validator)
    """Unread bytes per stream, counted as received, before the provider is held back."""
    max_buffered_bytes: int = attrs.field(default=256 * 1024 * 1024, validator=_buffer_validator)
    """Unread bytes over all streams."""
    max_relayed_bytes: int = attrs.field(default=32 * 1024 * 1024, validator=_buffer_validator)
    """Bytes of a relayed request's body, and of a relayed answer that does not stream."""
    sessions: SessionSettings = attrs.field(
        factory=SessionSettings, validator=instance_of(SessionSettings)
    )
    top_socket: str = ""
    """Where `streamnursery top` finds this engine: a local socket for this user alone. Empty:
    nowhere."""
    max_idle_connections: int = attrs.field(default=100, validator=count_validator)
    """Idle connections kept per peer."""
    http2: Http2Settings = attrs.field(
        default=Http2Settings(), validator=instance_of(Http2Settings)
    )
    max_added_latency: float | None = attrs.field(default=None, validator=_latency_validator)
    """Seconds that a busy engine may let a token wait to read several at one wake-up; None: not
    at all. Felt above some 1,000 reads per second, and never longer than 5 ms."""
    budgets: Budgets = attrs.field(default=Budgets(), validator=instance_of(Budgets))
    """Limits on spending."""
    routing_rules: tuple[RoutingRule, ...] = DEFAULT_RULES
    """How the model of a `TaskProfile` is chosen: the first that applies, else the balanced one."""

    def routed_to(self, endpoint: str) -> tuple[str, ...]:
        """The models with a route to an endpoint."""
        return tuple(
            name
            for name, model in self.models.items()
            if any(route.endpoint == endpoint for route in model.routes)
        )

    def unusable_models(self) -> tuple[str, ...]:
        """The models all of whose own routes lead to endpoints without their keys."""
        return tuple(
            name
            for name, model in self.models.items()
            if model.routes
            and all(
                route.endpoint in self.endpoints and self.endpoints[route.endpoint].missing_key
                for route in model.routes
            )
        )
