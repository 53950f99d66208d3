"""A simulated provider beside a program that cannot run in a world: asyncio, threads, a web server.

    with live_provider(Plan.always(Status(503))) as provider:
        ...                              # your program, with `provider.environment` or `.config()`

Real: the sockets on the loopback, the threads, and every clock of your program. Virtual: the
provider's time alone, of which `factor` seconds pass in one: its pace, its faults and its limits
per minute come so many times sooner. What your program waits for by itself (backoff, patience,
deadlines) takes its real time, so set those small. Nothing is replayed: where threads meet, no two
runs are the same. Prove what you can in a `World`, and the rest here.
"""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar

import trio
from trio.testing import MockClock

from streamnursery.simulator import PROFILES, Plan, Profile, Provider, serve_loopback
from streamnursery.simulator.log import RequestRecord
from streamnursery.testing.as_code import as_code
from streamnursery.testing.told import PROMPT, Told, text_problem
from streamnursery.values.secret import Secret

T = TypeVar("T")

FACTOR: Final = 100.0
CLIENT_WITHIN: Final = 30.0
"""Seconds in which a client must have an answer or an error."""
_KEY: Final = "sk-live"

Client: TypeAlias = Callable[[str, str], str]
"""From a base URL and a prompt to the text of the answer; it raises if it has none."""


class LiveProvider:
    """A provider that runs in its own thread; usable from any other thread."""

    def __init__(self, provider: Provider, clock: MockClock) -> None:
        self.url = ""
        """Base URL of its API, `http://127.0.0.1:PORT/v1`."""
        self._provider = provider
        self._clock = clock
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=self._main, name="live provider", daemon=True)
        self._begun: SimpleQueue[BaseException | None] = SimpleQueue()

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which an engine with the usual configuration finds it."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": _KEY}

    def config(self, **tables: Any) -> dict[str, Any]:
        """A configuration for `open_engine` in which every model is this provider's; `tables` are
        its other tables, such as `engine={"max_streams": 5}`."""
        endpoint = {"url": self.url, "key": Secret(_KEY)}
        return {**tables, "endpoints": {"live": endpoint, **tables.get("endpoints", {})}}

    @property
    def log(self) -> tuple[RequestRecord, ...]:
        """The requests so far, the oldest first; those in progress go on changing."""
        return self._ask(lambda: tuple(self._provider.log))

    @property
    def plan(self) -> Plan:
        """What goes wrong from now on; may be replaced at any time."""
        return self._ask(lambda: self._provider.plan)

    @plan.setter
    def plan(self, plan: Plan) -> None:
        self._ask(lambda: setattr(self._provider, "plan", plan))

    @property
    def in_progress(self) -> int:
        """Requests whose answers have not ended."""
        return sum(record.ended_at is None for record in self.log)

    def confront(
        self, client: Client, *, prompt: str = PROMPT, within: float | None = None
    ) -> None:
        """Ask `client` once, in its own thread, and compare what it says with what the
        provider meant. `within` is in real seconds (`CLIENT_WITHIN`). Of an asyncio client pass
        `lambda url, prompt: asyncio.run(ask(url, prompt))`.

        Raises:
            AssertionError: it said another text than the provider meant, or a part of it, or failed
                where nothing was wrong; or it did not end in time, and its thread is left behind.
        """
        within = CLIENT_WITHIN if within is None else within
        seen = len(self.log)
        answers: SimpleQueue[Told] = SimpleQueue()

        def ask() -> None:
            try:
                answers.put(client(self.url, prompt))
            except Exception as error:  # noqa: BLE001 - any error is an honest answer to a fault
                answers.put(error)

        threading.Thread(target=ask, name="client under test", daemon=True).start()
        try:
            problem = text_problem(answers.get(timeout=within), self.log[seen:])
        except Empty:
            problem = f"it had neither an answer nor an error after {within:g} s"
        if problem is not None:
            msg = f"{problem}\nplan: {as_code(self.plan)}"
            raise AssertionError(msg)

    def start(self) -> None:
        """Serve. `live_provider` does it.

        Raises:
            OSError: no port is to be had.
        """
        self._thread.start()
        error = self._begun.get()
        if error is not None:
            raise error

    def stop(self) -> None:
        """End every connection, and the thread. Idempotent."""
        if self._token is not None and self._thread.is_alive():
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._scope.cancel)
            self._thread.join()

    def _ask(self, function: Callable[[], T]) -> T:
        """What `function` comes to in the provider's thread."""
        if not self._thread.is_alive():
            return function()
        assert self._token is not None
        answers: SimpleQueue[T | BaseException] = SimpleQueue()

        def answer() -> None:
            try:
                answers.put(function())
            except Exception as error:  # noqa: BLE001 - for the caller: here it would end the run
                answers.put(error)

        try:
            self._token.run_sync_soon(answer)
        except trio.RunFinishedError:
            self._thread.join()
            return function()
        found = answers.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def _main(self) -> None:
        try:
            trio.run(self._serve, clock=self._clock)
        except BaseException as error:  # noqa: BLE001 - raised where its start is waited for
            self._begun.put(error)

    async def _serve(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                server = await serve_loopback(self._provider, nursery=nursery)
                self.url = server.url
                self._token = trio.lowlevel.current_trio_token()
                self._begun.put(None)


@contextmanager
def live_provider(
    plan: Plan | None = None,
    *,
    models: Mapping[str, Profile] = PROFILES,
    factor: float = FACTOR,
    seed: int = 0,
) -> Iterator[LiveProvider]:
    """A simulated provider on the loopback for the length of the block.

    `plan` says what goes wrong, `models` how fast each model is, `seed` fixes the answers; of its
    time `factor` seconds pass in a real one.

    Raises:
        ValueError: `factor` is not a number above 0.
    """
    if not isinstance(factor, int | float) or not factor > 0:
        msg = f"factor is a number above 0, not {factor!r}"
        raise ValueError(msg)
    provider = Provider(
        dice=random.Random(seed), models=models, plan=plan or Plan(), key=Secret(_KEY)
    )
    live = LiveProvider(provider, MockClock(rate=factor))
    live.start()
    try:
        yield live
    finally:
        live.stop()
