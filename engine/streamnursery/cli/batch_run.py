"""Runs a batch while somebody watches."""

import argparse
import sys
import time
from typing import TYPE_CHECKING

import trio

from streamnursery.batch import BatchProgress, run
from streamnursery.cli.exits import Exit
from streamnursery.facade import open_engine
from streamnursery.values.errors import EngineError
from streamnursery.values.money import Money

if TYPE_CHECKING:
    from streamnursery.facade import Engine
    from streamnursery.values.settings import EngineConfig

_LIVE, _LOGGED = 0.5, 10.0
"""Seconds between two looks, on a terminal and without one."""
_LATELY = 60.0
"""Seconds whose pace says when it will be over."""


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
        args = self._args
        try:
            async with open_engine(self._config) as eng, trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, eng)
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
            self._screen.clear()
        return Exit.OK

    def _started(self, progress: BatchProgress) -> None:
        self.progress = progress

    async def _watch(self, eng: "Engine") -> None:
        while True:
            await trio.sleep(self._screen.every)
            if self.progress is not None:
                self._screen.show(self.progress, self._spent_so_far(eng))

    def _spent_so_far(self, eng: "Engine") -> int:
        batches = 0 if self.progress is None else self.progress.spent
        return eng.usage_report().total.spent + batches

    def close(self) -> None:
        self._screen.clear()


class Screen:
    """One line on stderr that is written over on a terminal, and a line now and then without
    one."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self.every = _LIVE if self._live else _LOGGED
        self._shown = 0
        self._past: list[tuple[float, int, int]] = []
        """When, rows and tokens."""

    def show(self, progress: BatchProgress, spent: int) -> None:
        now, ours = time.monotonic(), progress.answered + progress.failed
        self._past.append((now, ours, progress.output_tokens))
        while now - self._past[0][0] > _LATELY:
            del self._past[0]
        since, rows, tokens = self._past[0]
        seconds = max(now - since, 1e-3)
        pace, speed = (ours - rows) / seconds, (progress.output_tokens - tokens) / seconds
        whole = "" if progress.rows is None else f"/{progress.rows}"
        parts = [
            f"{progress.done}{whole} done",
            f"{progress.failed} failed",
            f"{progress.in_flight} in flight",
            f"{speed:.0f} tokens/s",
            str(Money(spent)),
        ]
        if progress.rows is not None and pace > 0:
            parts.append(f"{_duration((progress.rows - progress.done) / pace)} left")
        self.say(", ".join(parts))

    def say(self, text: str) -> None:
        if self._live:
            sys.stderr.write("\r" + text.ljust(self._shown)[:200])
            self._shown = len(text)
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave nothing behind."""
        if self._live and self._shown:
            sys.stderr.write("\r" + " " * self._shown + "\r")
            sys.stderr.flush()
            self._shown = 0


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min"
        if hours
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )
