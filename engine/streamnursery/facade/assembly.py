"""What an engine is put together from, and what it gets from the world around it."""

import random
from collections.abc import Callable
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

import attrs
import trio

from streamnursery.config.prices import price_source
from streamnursery.core.measure.meter import Meter
from streamnursery.core.money.ledger import Ledger
from streamnursery.core.routing.router import RoutingPolicy
from streamnursery.scheduler.admission.admission import Admission
from streamnursery.scheduler.admission.slots import UNLIMITED
from streamnursery.scheduler.money.guarded_store import GuardedStore
from streamnursery.scheduler.money.ledger_store import LedgerStore, MemoryStore
from streamnursery.scheduler.money.spending import Spending
from streamnursery.scheduler.run.catalogue import SIMULATOR, Catalogue
from streamnursery.scheduler.run.model_choice import ModelChoice
from streamnursery.scheduler.run.observers import Observer
from streamnursery.storage.disk import Disk
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.supervisor.ports import Recorder
from streamnursery.supervisor.supervisor import Supervisor
from streamnursery.transport.client import HttpTransport
from streamnursery.transport.network import Network
from streamnursery.transport.pump import Readers
from streamnursery.values.errors import ConfigError
from streamnursery.values.rates import Rates
from streamnursery.values.secret import key_problem
from streamnursery.values.settings import Endpoint, EngineConfig, ModelSettings
from streamnursery.values.tenant import Tenant
from streamnursery.wire.registry import Dialects


@attrs.frozen
class Outside:
    """What the engine gets from the world around it; a simulation replaces all of it."""

    network: Network
    wall: Callable[[], float]
    """Unix time."""
    dice: random.Random
    observers: tuple[Observer, ...]
    disk: Disk
    router: RoutingPolicy | None = None
    """Chooses models instead of the default rules."""
    dialects: Dialects = attrs.field(factory=Dialects)
    """What its endpoints may speak."""
    store: Callable[[Ledger], LedgerStore] | None = None
    """Makes what keeps the ledger; None: memory, or the file of `budgets.ledger`."""

    def transport(self, config: EngineConfig, nursery: trio.Nursery) -> HttpTransport:
        """The way to the endpoints; its tasks run in `nursery`."""
        return HttpTransport(
            nursery,
            self.network,
            max_idle_per_peer=config.max_idle_connections,
            trust_env=config.trust_env,
            http2=config.http2,
            readers=Readers(nursery, max_added_latency=config.max_added_latency or 0.0),
        )

    def simulator(self, nursery: trio.Nursery) -> Network:
        """The built-in provider on its own network, served in `nursery`."""
        # Imported here: an engine that never uses a `sim/` model does not pay for it.
        from streamnursery.simulator.provider import Provider
        from streamnursery.simulator.server import SimNetwork

        provider = Provider(dice=random.Random(self.dice.getrandbits(64)))
        return SimNetwork(nursery, {SIMULATOR.url.origin.host: provider})


def outlet_of(endpoint: Endpoint, dialects: Dialects, transport: HttpTransport) -> Outlet:
    """`endpoint`, ready to send to.

    Raises:
        ConfigError: there is no such dialect, or its key is not fit to be sent.
    """
    wrong = key_problem(endpoint.key) if endpoint.key is not None else None
    if wrong is not None:
        msg = f"endpoint {endpoint.name!r}: {wrong}"
        raise ConfigError(msg)
    dialect = dialects.find(endpoint.dialect)
    if dialect is None:
        known = ", ".join(map(repr, dialects.names))
        msg = (
            f"endpoint {endpoint.name!r}: unknown dialect {endpoint.dialect!r}; use one of {known}"
        )
        raise ConfigError(msg)
    return Outlet.of(endpoint, dialect, transport)


def admission_of(config: EngineConfig) -> Admission:
    """The limits of a configuration, with an empty queue before them."""
    models, endpoints = config.models.values(), config.endpoints.values()
    return Admission(
        max_streams=config.max_streams,
        max_queued=config.max_queued,
        default_max_streams=config.default_max_streams,
        model_max_streams={m.name: m.slots for m in models if m.slots is not None},
        endpoint_max_streams={
            e.name: e.max_streams for e in endpoints if e.max_streams is not None
        },
        model_rates={m.name: m.rates for m in models if m.rates != Rates()},
        endpoint_rates={e.name: e.rates for e in endpoints if e.rates != Rates()},
        tenants=config.tenants,
        default_tenant=Tenant(max_queued=config.max_queued_per_tenant),
        adaptive={m.name: m.adaptive for m in models if m.max_streams == "adaptive"},
        groups=config.groups,
        current_time=trio.lowlevel.current_clock().current_time,
    )


def spending_of(
    config: EngineConfig,
    outside: Outside,
    meter: Callable[[str], Meter],
    recorder: Recorder,
) -> Spending:
    """The money of an engine, kept in memory or in the file that the budgets name."""
    budgets = config.budgets
    ledger = Ledger(budgets, time_zone(budgets.timezone))
    store: LedgerStore = MemoryStore(ledger)
    if outside.store is not None:
        if budgets.ledger:
            raise ConfigError(
                "budgets.ledger names a file, and a store was given; keep one of them"
            )
        store = GuardedStore(outside.store(ledger))
    elif budgets.ledger:
        # Imported here: it brings SQLite's schema along, and most ledgers are in memory.
        from streamnursery.storage.ledger_file import LedgerFile

        store = LedgerFile(budgets, outside.disk, ledger, wall=outside.wall)
    return Spending(
        budgets,
        ledger,
        store,
        price_of=price_source(config),
        meter=meter,
        wall=outside.wall,
        now=trio.current_time,
        recorder=recorder,
        max_queued=config.max_queued,
    )


def choice_of(
    config: EngineConfig,
    outside: Outside,
    catalogue: Catalogue,
    spending: Spending,
    supervisor: Supervisor,
) -> ModelChoice:
    """Who chooses the model for a task."""
    gate = supervisor.routes.gate
    return ModelChoice(config, catalogue, spending, gate, trio.current_time, outside.router)


def time_zone(name: str) -> tzinfo:
    """UTC is there on machines without a database of zones too.

    Raises:
        ConfigError: there is no such zone here.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        msg = f"budgets.timezone: this machine knows no zone {name!r}; install tzdata"
        raise ConfigError(msg) from None


def apply_limits(admission: Admission, config: EngineConfig) -> None:
    """The limits of another configuration, under load."""
    admission.max_queued = config.max_queued
    admission.default_tenant = Tenant(max_queued=config.max_queued_per_tenant)
    admission.lanes.default_max_streams = config.default_max_streams
    # Rates first: who passes by a higher limit of slots is to count in them.
    models = {name: config.models.get(name, ModelSettings(name)) for name in admission.lanes.models}
    endpoints = {name: config.endpoints.get(name) for name in admission.lanes.endpoints}
    for name, model in models.items():
        admission.set_rates(model.rates, model=name)
    for name, endpoint in endpoints.items():
        admission.set_rates(endpoint.rates if endpoint is not None else Rates(), endpoint=name)
    for name, model in models.items():
        adaptive = model.max_streams == "adaptive"
        admission.lanes.set_adaptive(name, model.adaptive if adaptive else None)
        most = config.default_max_streams if model.slots is None else model.slots
        admission.set_limit(UNLIMITED if adaptive else most, model=name)
    for name, endpoint in endpoints.items():
        bound = endpoint.max_streams if endpoint is not None else None
        admission.set_limit(UNLIMITED if bound is None else bound, endpoint=name)
    admission.set_shared(config.tenants, config.groups)
    admission.set_limit(config.max_streams)
    admission.lanes.stated = {m.name for m in config.models.values() if m.max_streams is not None}
