"""What sessions cost that do nothing but beat: `python -m benchmarks.idle_sessions [COUNT]`.

A simulated provider in a process of its own, on loopback. CPU is the client's own, user and system,
over beats that come in real time; memory is what its resident set grew by, per session.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import trio

import streamnursery as sn

BEATS = 5
INTERVAL = 4.0
SETTINGS = sn.SessionSettings(heartbeat=sn.settings.Heartbeat(interval=INTERVAL, timeout=4.0))


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def hold(eng: sn.Engine, ready: trio.Semaphore, end: trio.Event, beats: list[int]) -> None:
    async with eng.session("server", settings=SETTINGS) as session:
        await session.wait_open()
        ready.release()
        await end.wait()
        beats.append(session.statistics().beats)
        assert session.state is sn.records.SessionState.OPEN


async def measure(url: str, count: int) -> dict[str, float]:
    config = {"endpoints": {"server": {"url": url, "auth": "none"}}}
    ready, end, beats = trio.Semaphore(0), trio.Event(), list[int]()
    async with sn.open_engine(config) as eng, trio.open_nursery() as nursery:
        nursery.start_soon(hold, eng, ready, end, beats)  # what is loaded once is loaded now
        await ready.acquire()
        before = resident()
        for _ in range(count):
            nursery.start_soon(hold, eng, ready, end, beats)
        for _ in range(count):
            await ready.acquire()
        grown = resident() - before
        await trio.sleep(INTERVAL)
        spent, began_at = cpu(), trio.current_time()
        await trio.sleep(BEATS * INTERVAL)
        spent, lasted = cpu() - spent, trio.current_time() - began_at
        end.set()
    expected = lasted / INTERVAL * (count + 1)
    return {
        "sessions": count,
        "kib_per_session": grown / count / 1024,
        "cpu_us_per_beat": spent / expected * 1e6,
        "cpu_percent_at_30_s": spent / lasted * INTERVAL / 30 * 100,
        "beats_seen_per_session": sum(beats) / len(beats),
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    command = [sys.executable, "-m", "streamnursery", "sim", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            url = json.loads(server.stdout.readline())["url"]
            print(json.dumps(trio.run(measure, url, count)))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
