"""pydantic-ai with OpenAI's model, as its documentation shows it."""

import asyncio
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import openai
from pydantic_ai import Agent
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


def _version() -> str:
    try:
        return version("pydantic-ai-slim")
    except PackageNotFoundError:
        return version("pydantic-ai")


VERSIONS = {
    "pydantic-ai": _version(),
    "openai": version("openai"),
    "python": platform.python_version(),
}


async def ask() -> None:
    """One stream, and what became of it."""
    leave = os.environ.get("GRADE_LEAVE_AFTER")
    text = ""
    found: dict[str, object] = {"outcome": "complete"}
    try:
        model = OpenAIChatModel(os.environ["GRADE_MODEL"], provider=OpenAIProvider())
        async with Agent(model).run_stream(os.environ["GRADE_PROMPT"]) as result:
            pieces = 0
            async for piece in result.stream_text(delta=True, debounce_by=None):
                text += piece
                pieces += 1
                if leave and pieces >= int(leave):
                    found = {"outcome": "left"}
                    break
    except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
        kind = type(error)
        found = {
            "outcome": "error",
            "error": f"{kind.__module__}.{kind.__qualname__}",
            "typed": isinstance(error, AgentRunError | UserError | openai.OpenAIError),
        }
    print(json.dumps({**found, "text": text, "versions": VERSIONS}), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(ask())
