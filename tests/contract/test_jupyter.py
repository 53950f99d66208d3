"""A real kernel: cells that await, cells that are run again, and a cell that is interrupted."""

from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="installed by `make contract`")
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.support.cli import ROOT

pytestmark = [
    pytest.mark.contract,
    # Of the notebook's own client and its sockets.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PATHS = f"import sys; sys.path.insert(0, {str(ROOT / 'engine')!r})"
SHARED = """
import streamnursery.aio as sn
eng = sn.shared()
print((await eng.complete("sim/fast", "Hi")).text != "", eng is sn.shared())
"""
BY_SYNC = """
import streamnursery.sync as plain
print(plain.complete("sim/fast", "Hi").text != "")
"""
INTERRUPTED = """
import _thread, asyncio, os, signal
async def read():
    async with eng.stream("sim/gemini-2.5-flash", "Hi") as stream:
        await anext(stream)
        os.kill(os.getpid(), signal.SIGINT)  # as the button does
        async for _ in stream:
            pass
        print("read to its end")
await read()
"""
AFTERWARDS = """
statistics = await eng.statistics()
print(statistics.streams, statistics.active)
import threading
print([thread.name for thread in threading.enumerate()].count("streamnursery"))
"""


def output(cell: nbformat.NotebookNode) -> str:
    return "".join(part.get("text", "") for part in cell.outputs if part.output_type == "stream")


def test_cells_await_share_one_engine_and_survive_an_interrupt(tmp_path: Path) -> None:
    cells = [PATHS, SHARED, SHARED, BY_SYNC, INTERRUPTED, AFTERWARDS, SHARED]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(
        book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    with client.setup_kernel():
        for index, cell in enumerate(book.cells):
            if cell.source == INTERRUPTED:
                with pytest.raises(CellExecutionError, match=r"KeyboardInterrupt|CancelledError"):
                    client.execute_cell(cell, index)
            else:
                client.execute_cell(cell, index)
    said = [output(cell) for cell in book.cells]
    assert said[1] == said[2] == said[6] == "True True\n"
    assert said[3] == "True\n"
    assert "read to its end" not in said[4]
    assert said[5] == "0 0\n1\n"
