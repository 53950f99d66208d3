"""The verbs of money and of the choice among models; `Engine` has them."""

from math import inf
from typing import TYPE_CHECKING, Any, Unpack

import attrs
import trio

from streamnursery.core.routing.route_plan import RoutePlan
from streamnursery.core.routing.router import STRATEGIES, Decision
from streamnursery.values.cost import Estimate
from streamnursery.values.errors import RequestError
from streamnursery.values.lifecycle import ModelChosen
from streamnursery.values.request import ChatRequest, make_request
from streamnursery.values.request_fields import Prompt, RequestFields
from streamnursery.values.spending import SpendingReport
from streamnursery.values.task import AUTO, TaskProfile

if TYPE_CHECKING:
    from streamnursery.scheduler.money.spending import Spending
    from streamnursery.scheduler.run.catalogue import Catalogue
    from streamnursery.scheduler.run.model_choice import ModelChoice
    from streamnursery.scheduler.run.observers import Observers
    from streamnursery.supervisor.course import Course


class Choosing:
    """What `Engine` is besides a runner of streams."""

    _spending: "Spending"
    _choice: "ModelChoice"
    _catalogue: "Catalogue"
    _observers: "Observers"

    def usage_report(self) -> SpendingReport:
        """What this engine has spent, by day, model, tenant and endpoint, and where every budget
        stands, with what other processes on the same ledger have spent of it."""
        return self._spending.report()

    def choose(self, task: TaskProfile, **fields: Unpack[RequestFields]) -> Decision:
        """The model that `stream(task)` would go to now, with the reasons; nothing is sent.

        Raises:
            ConfigError, RequestError, CallbackError: as `stream`.
        """
        return self._decided(task, fields)[1]

    def plan(
        self, model: str | ChatRequest, prompt: Prompt = "", **fields: Unpack[RequestFields]
    ) -> RoutePlan:
        """Where a request may go, in order; print it. Nothing is sent.

        Raises:
            RequestError, ConfigError: as `stream`.
        """
        if isinstance(model, ChatRequest):
            return self._catalogue.plan(make_request(model, **fields))
        return self._catalogue.plan(make_request(model, prompt, **fields))

    def estimate(
        self,
        model: str | ChatRequest | None = None,
        prompt: Prompt | None = None,
        **fields: Unpack[RequestFields],
    ) -> Estimate:
        """What a request is expected to take and to cost at each of its routes; nothing is sent.

        The input is counted as for limits per minute: from the text, corrected by what the
        providers of this model have reported so far.

        Raises:
            RequestError, ConfigError: as `stream`.
        """
        request, _ = self._requested(model, prompt, fields)
        course = self._catalogue.course(request, (0, 0), self._catalogue.plan(request))
        demands = [(course.demand(stop, inf), stop.route) for stop in course.plan.stops]
        routes = [self._spending.estimate(request, *demand) for demand in demands]
        first = demands[0][0]
        most = self._catalogue.meter(first.model).most_output(request)
        return Estimate(first.input_tokens, most, tuple(routes))

    def _requested(
        self, model: str | ChatRequest | TaskProfile | None, prompt: object, fields: Any
    ) -> tuple[ChatRequest, Decision | None]:
        """The request, and how its model was chosen if it was."""
        if model is None:
            model = self._catalogue.default_model()
        if isinstance(model, TaskProfile):
            if prompt is not None:
                raise RequestError("a TaskProfile has its messages; give no prompt beside it")
            return self._decided(model, fields)
        request = make_request(model, prompt, **fields)
        if request.model != AUTO or AUTO in self._choice.config.models:
            return self._catalogue.with_defaults(request), None
        return self._decided(TaskProfile(request.messages), {}, request)

    def _decided(
        self, task: TaskProfile, fields: Any, request: ChatRequest | None = None
    ) -> tuple[ChatRequest, Decision]:
        if task.strategy is not None and task.strategy not in STRATEGIES:
            msg = f"strategy must be one of {', '.join(STRATEGIES)}, not {task.strategy!r}"
            raise RequestError(msg)
        asked = task.request(**fields) if request is None else request
        decision = self._choice.decide(task, asked)
        request = attrs.evolve(asked, model=decision.model)
        return self._catalogue.with_defaults(request), decision

    def _tell(self, decision: Decision | None, course: "Course") -> None:
        if decision is not None:
            record = ModelChosen(
                trio.current_time(), course.number, course.model, decision.rule, decision.order
            )
            self._observers.emit(record)
