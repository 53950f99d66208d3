"""OpenAI's own client, as its documentation shows it; with `relayed`, over this engine."""

import json
import os
import platform
import sys
from importlib.metadata import version

import openai

VERSIONS = {"openai": version("openai"), "python": platform.python_version()}


def made() -> openai.OpenAI:
    """The client; what it is given stands in docs/sdk.md."""
    if sys.argv[1:] != ["relayed"]:
        return openai.OpenAI()
    from streamnursery import sdk

    return openai.OpenAI(http_client=sdk.client(), max_retries=0)


def main() -> None:
    """One stream, and what became of it."""
    leave = os.environ.get("GRADE_LEAVE_AFTER")
    client = made()
    text = ""
    found: dict[str, object] = {"outcome": "complete"}
    try:
        with client.chat.completions.create(
            model=os.environ["GRADE_MODEL"],
            messages=[{"role": "user", "content": os.environ["GRADE_PROMPT"]}],
            stream=True,
        ) as stream:
            pieces = 0
            for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    text += chunk.choices[0].delta.content
                    pieces += 1
                if leave and pieces >= int(leave):
                    found = {"outcome": "left"}
                    break
    except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
        kind = type(error)
        found = {
            "outcome": "error",
            "error": f"{kind.__module__}.{kind.__qualname__}",
            "typed": isinstance(error, openai.OpenAIError),
        }
    print(json.dumps({**found, "text": text, "versions": VERSIONS}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
