"""Google's own client, as its documentation shows it."""

import json
import os
import platform
import sys
from importlib.metadata import version

from google import genai
from google.genai import errors

VERSIONS = {"google-genai": version("google-genai"), "python": platform.python_version()}


def main() -> None:
    """One stream, and what became of it."""
    leave = os.environ.get("GRADE_LEAVE_AFTER")
    client = genai.Client()
    text = ""
    found: dict[str, object] = {"outcome": "complete"}
    try:
        pieces = 0
        for chunk in client.models.generate_content_stream(
            model=os.environ["GRADE_MODEL"], contents=os.environ["GRADE_PROMPT"]
        ):
            if chunk.text:
                text += chunk.text
                pieces += 1
            if leave and pieces >= int(leave):
                found = {"outcome": "left"}
                break
    except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
        kind = type(error)
        found = {
            "outcome": "error",
            "error": f"{kind.__module__}.{kind.__qualname__}",
            "typed": isinstance(error, errors.APIError),
        }
    print(json.dumps({**found, "text": text, "versions": VERSIONS}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
