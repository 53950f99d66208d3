"""A row of a task that runs in another world than the engine: in an event loop, or in a thread."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from streamnursery.batch.tasks import TaskAnswer, TaskRow
from streamnursery.facade import Engine
from streamnursery.values.errors import StreamCancelledError
from streamnursery.values.request import ChatRequest
from streamnursery.values.request_fields import Prompt


class ForeignRow:
    """What such a task gets, but for the verb, which waits as its world does."""

    def __init__(self, row: TaskRow) -> None:
        self._row = row
        self._call_scope: trio.CancelScope | None = None
        self._over = False

    @property
    def id(self) -> str:
        return self._row.id

    @property
    def request(self) -> ChatRequest:
        return self._row.request

    @property
    def fields(self) -> Mapping[str, Any]:
        """The line of the input as it was."""
        return self._row.fields

    @property
    def made(self) -> int:
        """Calls so far."""
        return self._row.made

    def _end(self) -> None:
        """No call goes on, and none is made any more; in the engine's thread."""
        self._over = True
        if self._call_scope is not None:
            self._call_scope.cancel()

    def _call(
        self, model: str | ChatRequest | None, prompt: Prompt | None, fields: Any
    ) -> Callable[[Engine], Awaitable[TaskAnswer]]:
        """The call, to be made in the engine's thread."""

        async def call(_: Engine) -> TaskAnswer:
            if not self._over:
                with trio.CancelScope() as scope:
                    if not self._row.busy:
                        self._call_scope = scope
                    return await self._row.complete(model, prompt, **fields)
            raise StreamCancelledError("the run has ended")

        return call
