"""This engine, as its documentation shows it; in another language where one is named: a dialect,
and the path of its URL."""

import json
import os
import platform
import sys

import trio

import streamnursery as sn

VERSIONS = {"streamnursery": sn.__version__, "python": platform.python_version()}


async def ask() -> dict[str, object]:
    """One stream, and what became of it."""
    leave = os.environ.get("GRADE_LEAVE_AFTER")
    text, config = "", None
    if len(sys.argv) > 1:
        dialect, path = sys.argv[1:]
        url = os.environ["OPENAI_BASE_URL"].removesuffix("/v1") + path
        config = {"endpoints": {"graded": {"url": url, "dialect": dialect}}}
    async with sn.open_engine(config) as eng:
        try:
            async with eng.stream(os.environ["GRADE_MODEL"], os.environ["GRADE_PROMPT"]) as stream:
                pieces = 0
                async for piece in stream.text():
                    text += piece
                    pieces += 1
                    if leave and pieces >= int(leave):
                        break
        except sn.EngineError as error:
            kind = type(error)
            name = f"{kind.__module__}.{kind.__qualname__}"
            found: dict[str, object] = {"outcome": "error", "error": name, "typed": True}
        else:
            found = {"outcome": "left" if leave else "complete"}
        print(json.dumps({**found, "text": text, "versions": VERSIONS}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    return found


if __name__ == "__main__":
    trio.run(ask)
