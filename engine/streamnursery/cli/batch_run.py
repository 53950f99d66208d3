"""Runs a batch with its progress on the screen."""

import argparse
import time
from typing import TYPE_CHECKING

import trio

from streamnursery.batch import BatchProgress, run
from streamnursery.cli.batch_screen import History, Look, Screen
from streamnursery.cli.exits import Exit
from streamnursery.facade import open_engine
from streamnursery.values.errors import EngineError

if TYPE_CHECKING:
    from streamnursery.facade import Engine
    from streamnursery.values.settings import EngineConfig

_EACH = 0.5
"""Seconds between two looks that a page is made from."""


class Work:
    """One run; `progress` holds what there is, also when it was interrupted."""

    def __init__(
        self, args: argparse.Namespace, config: "EngineConfig", tenant: str | None
    ) -> None:
        self.progress: BatchProgress | None = None
        self.error: EngineError | None = None
        self.spent = 0
        """Nano-dollars."""
        self._args = args
        self._config = config
        self._tenant = tenant
        self._stop = trio.Event()
        self._screen = Screen()
        self.history = History()
        self.seconds = 0.0

    def stop(self) -> None:
        """Begin no more rows; called in trio's thread."""
        self._stop.set()
        under_way = (
            "batches go on at the provider"
            if self._args.via
            else "answers under way have 10 s; once more ends at once"
        )
        self._screen.say(f"ending: {under_way}")

    async def run(self) -> int:
        """The exit code; errors are kept in `error`."""
        args, began = self._args, time.monotonic()
        try:
            async with open_engine(self._config) as eng, trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, eng)
                nursery.start_soon(self._remember)
                try:
                    self.progress = await run(
                        eng,
                        args.input[0],
                        out=args.out,
                        model=args.model,
                        samples=args.samples,
                        limit=args.limit,
                        sample=args.sample,
                        shard=args.shard,
                        retry_errors=args.retry_errors,
                        dedupe=args.dedupe,
                        order=args.order,
                        max_in_flight=args.parallel,
                        tenant=self._tenant,
                        via=args.via,
                        stop=self._stop,
                        started=self._started,
                    )
                except EngineError as error:
                    self.error = error
                self.spent = self._spent_so_far(eng)
                nursery.cancel_scope.cancel()
        finally:
            self.seconds = time.monotonic() - began
            self._look()
            self._screen.clear()
        return Exit.OK

    def _started(self, progress: BatchProgress) -> None:
        self.progress = progress

    async def _watch(self, eng: "Engine") -> None:
        while True:
            await trio.sleep(self._screen.every)
            if self.progress is not None:
                self._screen.show(self.progress, self._spent_so_far(eng))

    async def _remember(self) -> None:
        while True:
            self._look()
            await trio.sleep(_EACH)

    def _look(self) -> None:
        if self.progress is not None:
            self.history.add(Look.of(time.monotonic(), self.progress))

    def _spent_so_far(self, eng: "Engine") -> int:
        batches = 0 if self.progress is None else self.progress.spent
        return eng.usage_report().total.spent + batches

    def close(self) -> None:
        self._screen.clear()
