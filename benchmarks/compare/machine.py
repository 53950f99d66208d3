"""What the figures were measured on and with. No names of hosts, users or folders."""

import json
import os
import platform
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.compare.roster import Client

_VERSIONS = """
import importlib.metadata, json, sys
installed = {d.name: d.version for d in importlib.metadata.distributions()}
print(json.dumps({name: installed[name] for name in sys.argv[1:] if name in installed}))
"""


def first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "absent"
    return done.stdout.partition("\n")[0].strip()


def cores() -> int:
    return os.cpu_count() or 1


def facts() -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text()
    models = (line.split(":")[1].strip() for line in info.splitlines() if "model name" in line)
    return {
        "cpu": next(models, "unknown"),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": os.getloadavg()[0],
    }


def versions(clients: list[Client]) -> dict[str, str]:
    found = {
        "python": platform.python_version(),
        "node": first_line("node", "--version").lstrip("v"),
        "gcc": first_line("gcc", "-dumpfullversion"),
    }
    for client in clients:
        if client.python is not None and client.packages:
            said = first_line(client.python, "-c", _VERSIONS, *client.packages)
            found.update(json.loads(said) if said.startswith("{") else {})
    return found


def circumstances(clients: list[Client], *, rounds: int, real_time: bool) -> dict[str, Any]:
    """How every file of raw results begins; `rows` is still empty."""
    return {
        "date": date.today().isoformat(),
        "commit": commit(),
        "machine": facts(),
        "real_time": real_time,
        "versions": versions(clients),
        "rounds": rounds,
        "rows": {},
    }


def commit() -> str:
    """The commit, with a plus sign when there are changes on top of it."""
    changed = first_line("git", "status", "--porcelain", "--untracked-files=no", "engine")
    return first_line("git", "rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
