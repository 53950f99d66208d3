"""The verbs of the engine for plain threads."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Any, TypeVar, TypeVarTuple, Unpack, overload

from streamnursery.bridge import figures
from streamnursery.bridge.deadlines import seconds_left
from streamnursery.bridge.hosts import SyncHost
from streamnursery.bridge.many import CollectHalf
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.own_streams import HostItems
from streamnursery.bridge.streams import RelayHalf, StreamHalf, opener, relay_opener
from streamnursery.bridge.words import same_words
from streamnursery.core.limits.bucket import BURST
from streamnursery.core.routing.route_plan import RoutePlan
from streamnursery.core.routing.router import Decision
from streamnursery.facade import DrainReport, Engine
from streamnursery.facade.limits import ConfigSource, Reload
from streamnursery.pipeline.merge import MergedEvent
from streamnursery.scheduler.run.bulk import Work
from streamnursery.scheduler.run.calls import CallLease
from streamnursery.scheduler.run.dispatcher import StreamBlock
from streamnursery.scheduler.run.observers import DropPolicy, check_events
from streamnursery.scheduler.run.own_calls import reporting
from streamnursery.scheduler.run.own_streams import OwnItem
from streamnursery.sync.calls import SyncCallBlock
from streamnursery.sync.many import SyncItems, settled
from streamnursery.sync.own_streams import SyncPuller
from streamnursery.sync.records import SyncRecordsBlock, SyncRecordStream
from streamnursery.sync.relay import SyncRelayBlock, SyncRelayedAnswer
from streamnursery.sync.session import SyncSession, SyncSessionBlock
from streamnursery.sync.stream import SyncStreamBlock
from streamnursery.sync.waits import SyncBridge
from streamnursery.values.admission import Explanation
from streamnursery.values.call_options import LeaseOptions
from streamnursery.values.completion import Completion, Outcome
from streamnursery.values.cost import Estimate
from streamnursery.values.policy import Priority, PriorityName, Retries, WhenBehind
from streamnursery.values.request import ChatRequest, RequestHeaders
from streamnursery.values.request_fields import (
    CallOptions,
    Prompt,
    RequestFields,
    StreamFields,
    UntypedOptions,
)
from streamnursery.values.session import SessionSettings
from streamnursery.values.settings import EngineConfig
from streamnursery.values.snapshot import EngineSnapshot
from streamnursery.values.spending import SpendingReport
from streamnursery.values.statistics import EngineStatistics
from streamnursery.values.task import TaskProfile

P = TypeVar("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SyncEngine:
    """Runs streams in its own thread. Made by `open_engine`; usable inside its block, from any
    thread."""

    def __init__(self, bridge: SyncBridge) -> None:
        self._bridge = bridge

    @property
    def config(self) -> EngineConfig:
        return self._bridge.thread.engine.config

    @same_words(Engine.stream, "sync")
    def stream(
        self,
        model: str | ChatRequest | TaskProfile | None = None,
        prompt: Prompt | None = None,
        *,
        deadline: float | None = None,
        timeout: float | None = None,
        priority: Priority | PriorityName | None = None,
        buffer_events: int | None = None,
        buffer_bytes: int | None = None,
        when_behind: WhenBehind = "block",
        **fields: Unpack[StreamFields],
    ) -> SyncStreamBlock:
        def make_half(host: SyncHost, box: Mailbox) -> StreamHalf:
            left = seconds_left(host.now(), deadline, timeout)
            open_block = opener(
                model,
                prompt,
                timeout=left,
                priority=priority,
                buffer_events=buffer_events,
                buffer_bytes=buffer_bytes,
                when_behind=when_behind,
                **fields,
            )
            return StreamHalf(host, box, open_block, when_behind)

        return SyncStreamBlock(self._bridge, make_half)

    @overload
    def complete(
        self,
        model: str | ChatRequest | TaskProfile | None = None,
        prompt: Prompt | None = None,
        *,
        response_format: type[P],
        **options: Unpack[UntypedOptions],
    ) -> Completion[P]: ...

    @overload
    def complete(
        self,
        model: str | ChatRequest | TaskProfile | None = None,
        prompt: Prompt | None = None,
        **options: Unpack[CallOptions],
    ) -> Completion: ...

    @same_words(Engine.complete, "sync")
    def complete(
        self,
        model: str | ChatRequest | TaskProfile | None = None,
        prompt: Prompt | None = None,
        **options: Unpack[CallOptions],
    ) -> Completion[Any]:
        host = self._bridge.host()
        deadline, timeout = options.pop("deadline", None), options.pop("timeout", None)
        left = seconds_left(host.now(), deadline, timeout)
        box = Mailbox()
        half = CollectHalf(host, box, opener(model, prompt, timeout=left, **options))
        self._bridge.thread.post(half)
        try:
            while not box.batches:
                host.wait(box)
        except BaseException:
            self._bridge.tell(half.leave)
            self._bridge.wait_over(host, box, lambda: bool(box.batches), for_over=False)
            raise
        return half.completion()

    @same_words(Engine.relay, "sync")
    def relay(
        self,
        model: str | None,
        path: str,
        body: bytes | Mapping[str, object] = b"",
        *,
        method: str = "POST",
        headers: RequestHeaders | None = None,
        endpoint: str | None = None,
        exact: bool = False,
        tenant: str = "",
        priority: Priority | PriorityName | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
        retries: Retries | None = None,
        buffer_bytes: int | None = None,
    ) -> AbstractContextManager[SyncRelayedAnswer]:
        def make_half(host: SyncHost, box: Mailbox) -> RelayHalf:
            left = seconds_left(host.now(), deadline, timeout)
            open_block = relay_opener(
                model,
                path,
                body,
                method=method,
                headers=headers,
                endpoint=endpoint,
                exact=exact,
                tenant=tenant,
                priority=priority,
                timeout=left,
                retries=retries,
                buffer_bytes=buffer_bytes,
            )
            return RelayHalf(host, box, open_block)

        return SyncRelayBlock(self._bridge, make_half)

    @same_words(Engine.settle, "sync")
    def settle(
        self, requests: Iterable[ChatRequest] | Iterable[Work], *, max_in_flight: int | None = None
    ) -> list[Outcome]:
        return settled(self._bridge, requests, max_in_flight)

    @same_words(Engine.as_completed, "sync")
    def as_completed(
        self, requests: Iterable[ChatRequest] | Iterable[Work], *, max_in_flight: int | None = None
    ) -> SyncItems[Outcome]:
        return SyncItems(self._bridge, requests, max_in_flight, merge=False)

    @same_words(Engine.merge, "sync")
    def merge(
        self, requests: Iterable[ChatRequest], *, max_in_flight: int | None = None
    ) -> SyncItems[MergedEvent]:
        return SyncItems(self._bridge, requests, max_in_flight, merge=True)

    @same_words(Engine.session, "sync")
    def session(
        self,
        endpoint: str,
        *,
        path: str | None = None,
        settings: SessionSettings | None = None,
        heartbeat: Callable[[SyncSession], object] | None = None,
    ) -> AbstractContextManager[SyncSession]:
        return SyncSessionBlock(self._bridge, endpoint, path, settings, heartbeat)

    @same_words(Engine.lease, "sync")
    def lease(
        self,
        model: str,
        *,
        priority: Priority | PriorityName = Priority.INTERACTIVE,
        deadline: float | None = None,
        timeout: float | None = None,
        tenant: str = "",
        input_tokens: int = 0,
        output_tokens: int = 0,
    ) -> AbstractContextManager[CallLease]:
        def open_lease(
            host: SyncHost,
        ) -> Callable[[Engine], AbstractAsyncContextManager[CallLease]]:
            left = seconds_left(host.now(), deadline, timeout)
            return lambda engine: engine.lease(
                model,
                priority=priority,
                timeout=left,
                tenant=tenant,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
            )

        return SyncCallBlock(self._bridge, open_lease)

    @same_words(Engine.run, "sync")
    def run(
        self,
        model: str,
        fn: Callable[[*Ts], T],
        *args: *Ts,
        **options: Unpack[LeaseOptions],
    ) -> T:
        with self.lease(model, **options) as lease, reporting(lease):
            return fn(*args)

    @same_words(Engine.stream_from, "sync")
    def stream_from(
        self,
        model: str,
        make: Callable[[*Ts], Iterable[OwnItem]],
        *args: *Ts,
        prompt: Prompt | None = None,
        retry_on: type[Exception] | tuple[type[Exception], ...] = (),
        **options: Unpack[UntypedOptions],
    ) -> SyncStreamBlock:
        rest: dict[str, Any] = {**options, "prompt": prompt, "retry_on": retry_on}
        deadline, timeout = rest.pop("deadline", None), rest.pop("timeout", None)

        def make_half(host: SyncHost, box: Mailbox) -> StreamHalf:
            left = seconds_left(host.now(), deadline, timeout)

            def pulled() -> HostItems:
                puller = SyncPuller(self._bridge, host, partial(make, *args))
                return HostItems(self._bridge.thread, puller)

            def open_block(engine: Engine) -> StreamBlock:
                block = engine.stream_from(model, pulled, timeout=left, **rest)
                assert isinstance(block, StreamBlock)
                return block

            return StreamHalf(host, box, open_block, rest.get("when_behind", "block"))

        return SyncStreamBlock(self._bridge, make_half)

    @same_words(Engine.events, "sync")
    def events(
        self, *, max_records: int = 1000, drop: DropPolicy = "oldest"
    ) -> AbstractContextManager[SyncRecordStream]:
        check_events(max_records, drop)
        return SyncRecordsBlock(self._bridge, max_records, drop)

    @same_words(Engine.statistics, "sync")
    def statistics(self) -> EngineStatistics:
        return self._bridge.ask(figures.statistics)

    @same_words(Engine.drain, "sync")
    def drain(self, timeout: float | None = None) -> DrainReport:
        return self._bridge.ask_task(lambda engine: engine.drain(timeout))

    @same_words(Engine.cancel_all, "sync")
    def cancel_all(self) -> int:
        return self._bridge.ask(Engine.cancel_all)

    @same_words(Engine.usage_report, "sync")
    def usage_report(self) -> SpendingReport:
        return self._bridge.ask(Engine.usage_report)

    @same_words(Engine.choose, "sync")
    def choose(self, task: TaskProfile, **fields: Unpack[RequestFields]) -> Decision:
        return self._bridge.ask(lambda engine: engine.choose(task, **fields))

    @same_words(Engine.plan, "sync")
    def plan(
        self, model: str | ChatRequest, prompt: Prompt = "", **fields: Unpack[RequestFields]
    ) -> RoutePlan:
        return self._bridge.ask(lambda engine: engine.plan(model, prompt, **fields))

    @same_words(Engine.estimate, "sync")
    def estimate(
        self,
        model: str | ChatRequest | None = None,
        prompt: Prompt | None = None,
        **fields: Unpack[RequestFields],
    ) -> Estimate:
        return self._bridge.ask(lambda engine: engine.estimate(model, prompt, **fields))

    @same_words(Engine.explain, "sync")
    def explain(
        self, model: str | ChatRequest, prompt: Prompt = "", **fields: Unpack[RequestFields]
    ) -> Explanation:
        return self._bridge.ask(lambda engine: engine.explain(model, prompt, **fields))

    @same_words(Engine.set_limits, "sync")
    def set_limits(
        self,
        *,
        model: str | None = None,
        endpoint: str | None = None,
        group: str | None = None,
        tenant: str | None = None,
        max_streams: int,
    ) -> None:
        self._bridge.ask(
            lambda engine: engine.set_limits(
                model=model, endpoint=endpoint, group=group, tenant=tenant, max_streams=max_streams
            )
        )

    @same_words(Engine.set_rates, "sync")
    def set_rates(
        self,
        *,
        model: str | None = None,
        endpoint: str | None = None,
        group: str | None = None,
        tenant: str | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        input_tpm: int | None = None,
        output_tpm: int | None = None,
        burst: float = BURST,
    ) -> None:
        self._bridge.ask(
            lambda engine: engine.set_rates(
                model=model,
                endpoint=endpoint,
                group=group,
                tenant=tenant,
                rpm=rpm,
                tpm=tpm,
                input_tpm=input_tpm,
                output_tpm=output_tpm,
                burst=burst,
            )
        )

    @same_words(Engine.snapshot, "sync")
    def snapshot(self) -> EngineSnapshot:
        return self._bridge.ask(figures.snapshot)

    @same_words(Engine.reload, "sync")
    def reload(self, config: ConfigSource = None) -> Reload:
        return self._bridge.ask(lambda engine: engine.reload(config))
