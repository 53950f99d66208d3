"""litellm, as its documentation shows it."""

import json
import os
import platform
import sys
from importlib.metadata import version

import litellm
import openai

VERSIONS = {
    "litellm": version("litellm"),
    "openai": version("openai"),
    "python": platform.python_version(),
}


def main() -> None:
    """One stream, and what became of it."""
    litellm.suppress_debug_info = True
    leave = os.environ.get("GRADE_LEAVE_AFTER")
    text = ""
    found: dict[str, object] = {"outcome": "complete"}
    try:
        stream = litellm.completion(
            model=f"openai/{os.environ['GRADE_MODEL']}",
            messages=[{"role": "user", "content": os.environ["GRADE_PROMPT"]}],
            stream=True,
            api_base=os.environ["OPENAI_BASE_URL"],
            api_key=os.environ["OPENAI_API_KEY"],
        )
        pieces = 0
        for chunk in stream:
            content = chunk.choices[0].delta.content if chunk.choices else None
            if content:
                text += content
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
