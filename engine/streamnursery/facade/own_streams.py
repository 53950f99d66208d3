"""The verb for streams of the caller's own; `Engine` has it."""

from collections.abc import AsyncIterable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVarTuple, Unpack

import attrs

from streamnursery.core.routing.route_plan import RoutePlan, plan
from streamnursery.facade.bounds import buffer_bound, check_policy
from streamnursery.pipeline.stream import TokenStream
from streamnursery.scheduler.run.calls import call_deadline
from streamnursery.scheduler.run.own_streams import OWN, OWN_ENDPOINT, OwnItem, OwnStream
from streamnursery.values.call_options import exception_kinds
from streamnursery.values.errors import RequestError
from streamnursery.values.policy import Priority
from streamnursery.values.request import ChatRequest, make_request
from streamnursery.values.request_fields import Prompt, UntypedOptions
from streamnursery.values.settings import EngineConfig, Route

if TYPE_CHECKING:
    from streamnursery.scheduler.admission.admission import Admission
    from streamnursery.scheduler.run.catalogue import Catalogue
    from streamnursery.scheduler.run.dispatcher import Dispatcher
    from streamnursery.supervisor.supervisor import Supervisor

Ts = TypeVarTuple("Ts")


class OwnStreams:
    """What `Engine` is besides."""

    _config: EngineConfig
    _admission: "Admission"
    _catalogue: "Catalogue"
    _dispatcher: "Dispatcher"
    _supervisor: "Supervisor"

    if TYPE_CHECKING:

        def _find_simulator(self, plan: RoutePlan) -> None: ...

    def stream_from(
        self,
        model: str,
        make: Callable[[*Ts], AsyncIterable[OwnItem]],
        *args: *Ts,
        prompt: Prompt | None = None,
        retry_on: type[Exception] | tuple[type[Exception], ...] = (),
        **options: Unpack[UntypedOptions],
    ) -> AbstractAsyncContextManager[TokenStream]:
        """Stream what an async iterator gives - of a local model, of another SDK - with the slots,
        clocks, retries, budgets, statistics and records of `model`, which may be any name.

        `make(*args)` is called for each attempt. Its iterator gives text, `Usage` and stream
        events (`TextDelta`, `ReasoningDelta`, `ToolCallDelta`, `ChoiceFinished`, ...); its end is
        the answer's. `patience.first_token` and `idle` bound it. An exception of `retry_on` is
        tried again as the `retries` of the model say, as long as nothing was delivered.

        `options` are those of `complete`. The prompt is what limits per minute count as input;
        with one, the model's `fallback` models are asked when no attempt here succeeds.

        Raises:
            RequestError, ConfigError, EngineClosedError: as `stream`.
        """
        fields: dict[str, Any] = {**options}
        names = ("deadline", "timeout", "buffer_events", "buffer_bytes")
        deadline, timeout, events, nbytes = (fields.pop(name, None) for name in names)
        when_behind = fields.pop("when_behind", "block")
        check_policy(when_behind)
        if not callable(make):
            msg = f"stream_from needs a model and a function, not {make!r:.80}"
            raise RequestError(msg)
        told = prompt is not None or "messages" in fields
        request = make_request(model, prompt if told else "", **fields)
        course_plan = self._own_plan(request, alone=not told)
        self._admission.check_open()
        rank = self._admission.next_rank(request.priority or Priority.INTERACTIVE)
        self._find_simulator(course_plan)
        return self._dispatcher.stream(
            request,
            self._catalogue.course(request, rank, course_plan),
            deadline=call_deadline(deadline, timeout),
            buffer_events=buffer_bound("buffer_events", events, self._config.buffer_events),
            buffer_bytes=buffer_bound("buffer_bytes", nbytes, self._config.buffer_bytes),
            when_behind=when_behind,
            supervisor=OwnStream(
                self._supervisor, partial(make, *args), exception_kinds("retry_on", retry_on)
            ),
        )

    def _own_plan(self, request: ChatRequest, *, alone: bool) -> RoutePlan:
        config = self._catalogue.config
        config = attrs.evolve(config, endpoints={**config.endpoints, OWN: OWN_ENDPOINT})

        def routes(model: str) -> tuple[Route, ...]:
            return (Route(OWN, model),) if model == request.model else self._catalogue.routes(model)

        if alone and (settings := config.models.get(request.model)) is not None:
            models = {**config.models, request.model: attrs.evolve(settings, fallback=())}
            config = attrs.evolve(config, models=models)
        return plan(request, config, routes=routes, name=self._catalogue.name)
