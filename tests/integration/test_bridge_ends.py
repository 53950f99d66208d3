"""How it ends: exits, forks, closed loops, Ctrl-C; each in a process of its own, which ends."""

import textwrap
from pathlib import Path

import pytest

from tests.support.cli import Ran, run_python


def ran(folder: Path, text: str, *options: str) -> Ran:
    script = folder / "program.py"
    script.write_text(textwrap.dedent(text))
    return run_python(folder, *options, script)


@pytest.mark.parametrize("how", ["pass", "sys.exit()", "raise SystemExit(0)"])
def test_a_process_ends_with_sync_streams_open(tmp_path: Path, how: str) -> None:
    found = ran(
        tmp_path,
        f"""
        import sys
        import streamnursery.sync as sn
        block = sn.stream("sim/gemini-2.5-flash", "Hi")
        stream = block.__enter__()
        next(stream)
        print("open")
        {how}
        """,
    )
    assert (found.code, found.out, found.err) == (0, "open\n", "")


def test_a_process_ends_with_threads_that_read(tmp_path: Path) -> None:
    found = ran(
        tmp_path,
        """
        import threading
        import streamnursery.sync as sn
        begun = threading.Semaphore(0)
        def read():
            with sn.stream("sim/gemini-2.5-flash", "Hi") as stream:
                begun.release()
                try:
                    list(stream)
                except sn.EngineClosedError:
                    pass
        for _ in range(5):
            threading.Thread(target=read, daemon=True).start()
        for _ in range(5):
            begun.acquire()
        print("open")
        """,
    )
    assert (found.code, found.out, found.err) == (0, "open\n", "")


def test_an_engine_is_closed_in_order_at_exit(tmp_path: Path) -> None:
    """Its ledger is written, by the thread that is there: none can be started any more."""
    found = ran(
        tmp_path,
        f"""
        import streamnursery.sync as sn
        block = sn.open_engine({{"budgets": {{"ledger": "{tmp_path}/ledger.db"}}}})
        eng = block.__enter__()
        print(bool(eng.complete("sim/fast", "Hi").text))
        """,
    )
    assert (found.code, found.out, found.err) == (0, "True\n", "")
    assert (tmp_path / "ledger.db").exists()
    assert not (tmp_path / "ledger.db-wal").exists()


def test_a_process_ends_though_an_observer_never_returns(tmp_path: Path) -> None:
    found = ran(
        tmp_path,
        """
        import threading
        import streamnursery.sync as sn
        held = threading.Event()
        def observe(record):
            held.set()
            threading.Event().wait()
        eng = sn.open_engine(observers=[observe]).__enter__()
        threading.Thread(target=eng.complete, args=("sim/fast", "Hi"), daemon=True).start()
        held.wait()
        print("held up")
        """,
    )
    assert (found.code, found.out, found.err) == (0, "held up\n", "")


CLOSED_LOOP = """
import asyncio
import streamnursery.aio as sn

async def main():
    block = sn.open_engine()
    eng = await block.__aenter__()
    stream = await eng.stream("sim/gemini-2.5-flash", "Hi").__aenter__()
    await anext(stream)
    return eng

loop = asyncio.new_event_loop()
eng = loop.run_until_complete(main())
thread = eng._bridge.thread
loop.close()
del loop
print(thread.join(60))
"""


def test_a_loop_that_is_closed_early_ends_its_engine_and_names_the_line(tmp_path: Path) -> None:
    found = ran(tmp_path, CLOSED_LOOP, "-W", "default")
    assert (found.code, found.out) == (0, "True\n")
    assert found.err.count("program.py:6: ResourceWarning: the event loop was closed") == 1
    assert "Traceback" not in found.err


def test_a_loop_that_is_dropped_without_a_word_ends_its_engine_too(tmp_path: Path) -> None:
    text = CLOSED_LOOP.replace(
        '    stream = await eng.stream("sim/gemini-2.5-flash", "Hi").__aenter__()\n', ""
    )
    text = text.replace("    await anext(stream)\n", "")
    found = ran(tmp_path, text, "-W", "default")
    assert (found.code, found.out) == (0, "True\n")
    assert "program.py:6: ResourceWarning" in found.err


def test_asyncio_run_that_ends_with_tasks_in_streams_closes_the_engine(tmp_path: Path) -> None:
    found = ran(
        tmp_path,
        """
        import asyncio
        import streamnursery.aio as sn

        async def read(eng, begun):
            async with eng.stream("sim/gemini-2.5-flash", "Hi") as stream:
                await anext(stream)
                begun.set()
                async for _ in stream:
                    pass

        async def main():
            block = sn.open_engine()
            async def hold(begun):
                async with sn.open_engine() as eng:
                    await read(eng, begun)
            begun = asyncio.Event()
            task = asyncio.create_task(hold(begun))
            await begun.wait()
            return task

        task = asyncio.run(main(), debug=True)
        print(task.cancelled())
        """,
        "-X",
        "dev",
    )
    assert (found.code, found.out, found.err) == (0, "True\n", "")


def test_every_verb_in_a_forked_child_says_so_and_the_child_may_open_its_own(
    tmp_path: Path,
) -> None:
    found = ran(
        tmp_path,
        """
        import os, sys
        import streamnursery.sync as sn
        with sn.open_engine() as eng:
            before = sn.complete("sim/fast", "Hi").text
            with eng.stream("sim/gemini-2.5-flash", "Hi") as stream:
                next(stream)
                child = os.fork()
                if not child:
                    for verb in (
                        lambda: eng.complete("sim/fast", "Hi"),
                        lambda: eng.stream("sim/fast", "Hi").__enter__(),
                        lambda: eng.settle([sn.ChatRequest("sim/fast", "Hi")]),
                        lambda: list(eng.merge([sn.ChatRequest("sim/fast", "Hi")])),
                        lambda: eng.run("own", print),
                        eng.statistics, eng.drain, eng.cancel_all, eng.snapshot,
                    ):
                        try:
                            verb()
                        except sn.EngineClosedError as error:
                            assert "another process" in str(error), error
                        else:
                            os._exit(1)
                    assert sn.complete("sim/fast", "Hi").text == before
                    sys.exit(0)  # leaves both blocks, and runs what is registered for exit
                print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            print(bool(eng.complete("sim/fast", "Hi").text))
        """,
    )
    assert (found.code, found.out, found.err) == (0, "0\nTrue\n", "")


def test_ctrl_c_in_a_sync_loop_leaves_the_stream(tmp_path: Path) -> None:
    found = ran(
        tmp_path,
        """
        import os, signal, threading
        import streamnursery.sync as sn
        with sn.open_engine() as eng:
            for _ in range(20):
                try:
                    with eng.stream("sim/gemini-2.5-flash", "Hi") as stream:
                        next(stream)
                        threading.Thread(
                            target=os.kill, args=(os.getpid(), signal.SIGINT)
                        ).start()
                        for _ in stream:
                            pass
                except KeyboardInterrupt:
                    statistics = eng.statistics()
                    assert (statistics.streams, statistics.active) == (0, 0), statistics
                else:
                    raise AssertionError
            print(bool(eng.complete("sim/fast", "Hi").text))
        """,
    )
    assert (found.code, found.out, found.err) == (0, "True\n", "")


def test_an_engine_is_used_from_another_loop(tmp_path: Path) -> None:
    found = ran(
        tmp_path,
        """
        import asyncio
        import streamnursery.aio as sn

        async def use(eng):
            async with eng.stream("sim/fast", "Hi") as stream:
                events = [event async for event in stream]
            return len(events) > 10 and bool(await eng.settle([sn.ChatRequest("sim/fast", "x")]))

        async def main():
            async with sn.open_engine() as eng:
                others = [asyncio.to_thread(asyncio.run, use(eng)) for _ in range(5)]
                print(await asyncio.gather(use(eng), *others))

        asyncio.run(main())
        shared = sn.shared()
        print(asyncio.run(use(shared)), asyncio.run(use(sn.shared())), shared is sn.shared())
        """,
        "-X",
        "dev",
    )
    answers = [True] * 6
    assert (found.code, found.out, found.err) == (0, f"{answers}\nTrue True True\n", "")
