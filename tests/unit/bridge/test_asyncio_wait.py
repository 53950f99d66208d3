"""What a task of asyncio awaits, beside a future of asyncio's own."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import streamnursery.aio as sn
from streamnursery.bridge.asyncio_host import AsyncioHost
from streamnursery.bridge.asyncio_wait import ReaderWait
from streamnursery.bridge.outbox import Border, Mailbox, Unread

MakeTask = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


def of_c(coro: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(coro)


def of_python(coro: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    made: Any = asyncio.tasks
    task: asyncio.Task[Any] = made._PyTask(coro, loop=asyncio.get_running_loop())
    return task


kinds = pytest.mark.parametrize("make_task", [of_c, of_python])


class Pass:
    """One pass of the loop."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def passes(count: int = 3) -> None:
    for _ in range(count):
        await Pass()


@kinds
def test_its_task_runs_on_in_the_call_that_ends_it(make_task: MakeTask) -> None:
    seen: list[str] = []
    name: ContextVar[str] = ContextVar("name", default="none")

    async def reads(wait: ReaderWait) -> None:
        name.set("reader")
        await wait
        seen.append(name.get())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        wait = ReaderWait(loop)
        task = make_task(reads(wait))
        await passes()

        def wakes() -> None:
            wait.wake()
            wait.wake()
            seen.append("woken")

        loop.call_soon(wakes)
        await task
        assert wait.done() and not wait.cancelled()

    asyncio.run(main())
    assert seen == ["reader", "woken"]


@kinds
def test_a_task_that_ends_it_runs_on_first(make_task: MakeTask) -> None:
    seen: list[str] = []

    async def reads(wait: ReaderWait) -> None:
        await wait
        seen.append("reader")

    async def main() -> None:
        wait = ReaderWait(asyncio.get_running_loop())
        task = make_task(reads(wait))
        await passes()
        wait.wake()
        seen.append("waker")
        await task

    asyncio.run(main())
    assert seen == ["waker", "reader"]


def test_it_may_be_ended_before_it_is_awaited() -> None:
    async def main() -> None:
        wait = ReaderWait(asyncio.get_running_loop())
        wait.wake()
        await wait

    asyncio.run(main())


@kinds
def test_a_cancel_ends_the_await_with_its_words(make_task: MakeTask) -> None:
    async def main() -> None:
        wait = ReaderWait(asyncio.get_running_loop())

        async def reads() -> None:
            await wait

        task = make_task(reads())
        await passes()
        task.cancel("enough")
        wait.wake()  # too late
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert wait.cancelled()

    asyncio.run(main())


@kinds
def test_a_cancel_after_the_end_comes_at_the_next_await(make_task: MakeTask) -> None:
    seen: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        wait = ReaderWait(loop)

        async def reads() -> None:
            await wait
            seen.append("read")
            await Pass()
            seen.append("never")

        task = make_task(reads())
        await passes()
        wait.wake()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen in (["read"], [])


def test_a_task_that_ends_the_loop_takes_no_others_news() -> None:
    """A KeyboardInterrupt leaves the loop out of the task's step, which is in the sweep's."""
    seen: list[int] = []

    async def reads(host: AsyncioHost, box: Mailbox, number: int) -> None:
        assert host.outbox.park(box)
        await host.wait(box)
        seen.append(number)
        if number == 0:
            raise KeyboardInterrupt

    loop = asyncio.new_event_loop()
    host = AsyncioHost(loop, Border())
    boxes = [Mailbox() for _ in range(3)]
    tasks = [loop.create_task(reads(host, box, number)) for number, box in enumerate(boxes)]
    loop.run_until_complete(passes())
    for box in boxes:
        if host.outbox.put(box, Unread(9, 9), [1], 1)[0]:
            host.wake()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(asyncio.gather(*tasks[1:]))
    loop.close()
    assert seen == [0, 1, 2]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_engines_of_one_loop_leave_no_descriptor() -> None:
    async def main() -> None:
        counts = []
        for _ in range(4):
            async with sn.open_engine() as eng:
                await eng.statistics()
            await passes()
            counts.append(descriptors())
        assert len(set(counts)) == 1

    asyncio.run(main())


def test_it_works_without_eventfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "eventfd", raising=False)

    async def main() -> None:
        async with sn.open_engine() as eng:
            assert (await eng.complete("sim/fast", "Hi")).text

    asyncio.run(main())


@pytest.mark.parametrize("closed_by", ["the engine", "the loop"])
def test_what_is_put_as_it_closes_arrives_or_is_called_gone(closed_by: str) -> None:
    gone: list[int] = []
    loop = asyncio.new_event_loop()
    host = AsyncioHost(loop, Border())
    host.gone = lambda: gone.append(1)
    box = Mailbox()

    async def reads() -> None:
        assert host.outbox.park(box)
        await host.wait(box)

    task = loop.create_task(reads())
    loop.run_until_complete(passes())
    if closed_by == "the loop":
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
    thread = threading.Thread(target=_put_and_close, args=(host, box))
    thread.start()
    thread.join()
    if closed_by == "the engine":
        loop.run_until_complete(task)
        loop.close()
    assert gone == ([1] if closed_by == "the loop" else [])


def _put_and_close(host: AsyncioHost, box: Mailbox) -> None:
    host.outbox.put(box, Unread(9, 9), [1], 1)
    host.wake()
    host.close()
    host.close()
