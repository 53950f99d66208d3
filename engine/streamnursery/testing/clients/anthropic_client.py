"""Anthropic's own client, as its documentation shows it."""

import json
import os
import platform
import sys
from importlib.metadata import version

import anthropic

VERSIONS = {"anthropic": version("anthropic"), "python": platform.python_version()}


def main() -> None:
    """One stream, and what became of it."""
    leave = os.environ.get("GRADE_LEAVE_AFTER")
    client = anthropic.Anthropic()
    text = ""
    found: dict[str, object] = {"outcome": "complete"}
    try:
        with client.messages.stream(
            model=os.environ["GRADE_MODEL"],
            max_tokens=1024,
            messages=[{"role": "user", "content": os.environ["GRADE_PROMPT"]}],
        ) as stream:
            for pieces, piece in enumerate(stream.text_stream, 1):
                text += piece
                if leave and pieces >= int(leave):
                    found = {"outcome": "left"}
                    break
    except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
        kind = type(error)
        found = {
            "outcome": "error",
            "error": f"{kind.__module__}.{kind.__qualname__}",
            "typed": isinstance(error, anthropic.AnthropicError),
        }
    print(json.dumps({**found, "text": text, "versions": VERSIONS}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
