"""The clients that `grade` knows: their programs, and what has to be installed for them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

_FOLDER = Path(__file__).parent / "clients"
_KEPT = ("PATH", "HOME", "LANG", "NODE_PATH")
"""What a client gets of our own environment."""


@attrs.frozen
class KnownClient:
    """A program in `clients/`, and the package that it needs."""

    program: str
    package: str = ""
    """As it is imported; "" if it needs none."""
    arguments: tuple[str, ...] = ()

    @property
    def on_node(self) -> bool:
        return self.program.endswith((".cjs", ".mjs"))

    def command(self, python: str) -> tuple[str, ...]:
        """What runs it: under `python`, or with `node`, which finds packages by NODE_PATH."""
        return ("node" if self.on_node else python, str(_FOLDER / self.program), *self.arguments)

    def installed_in(self, program: str) -> bool:
        """Whether `program`, an interpreter or node, finds its package."""
        if not self.package:
            return True
        find = f"require.resolve({self.package!r})" if self.on_node else f"import {self.package}"
        flag = "-e" if self.on_node else "-c"
        asked = subprocess.run(
            (program, flag, find), env=surroundings(), capture_output=True, check=False
        )
        return asked.returncode == 0


# Ours is found anywhere, what it needs is not: so its name is imported.
_OURS = "streamnursery; streamnursery.open_engine"
KNOWN: Final[Mapping[str, KnownClient]] = {
    "floor": KnownClient("floor_client.py"),
    "ceiling": KnownClient("ceiling_client.py"),
    "engine": KnownClient("engine_client.py", _OURS),
    "openai": KnownClient("openai_client.py", "openai"),
    "openai-node": KnownClient("openai_node.cjs", "openai"),
    "litellm": KnownClient("litellm_client.py", "litellm"),
    "pydantic-ai": KnownClient("pydantic_ai_client.py", "pydantic_ai.models.openai"),
    "langchain": KnownClient("langchain_client.py", "langchain_openai"),
    "vercel-ai": KnownClient("vercel_ai.mjs", "ai"),
    "httpx": KnownClient("httpx_client.py", "httpx"),
    "httpx-sse": KnownClient("httpx_sse_client.py", "httpx_sse"),
    "eventsource-parser": KnownClient("eventsource_parser.mjs", "eventsource-parser"),
    "curl": KnownClient("curl_client.py"),
    "engine-anthropic": KnownClient("engine_client.py", _OURS, ("anthropic-messages", "/v1")),
    "anthropic": KnownClient("anthropic_client.py", "anthropic"),
    "engine-google": KnownClient("engine_client.py", _OURS, ("gemini", "/v1beta")),
    "google": KnownClient("google_client.py", "google.genai"),
    # SDKs that are given a client of `streamnursery.sdk`.
    "relayed-openai": KnownClient("openai_client.py", "openai", ("relayed",)),
    "relayed-anthropic": KnownClient("anthropic_client.py", "anthropic", ("relayed",)),
}
CLIENTS: Final = tuple(KNOWN)
"""Those that `client_command` knows."""


def client_command(client: str, python: str = sys.executable) -> tuple[str, ...]:
    """The command that runs one of `CLIENTS`."""
    return KNOWN[client].command(python)


def is_installed(client: str, program: str = sys.executable) -> bool:
    """Whether `program`, an interpreter or node, finds the package of one of `CLIENTS`."""
    return KNOWN[client].installed_in(program)


def may_fail_calibration(command: tuple[str, ...]) -> bool:
    """The floor of the table says of every answer that it failed."""
    return command[1:] == client_command("floor")[1:]


def surroundings() -> dict[str, str]:
    """Of a client's environment what is not about its case."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}
