"""httpx with a few lines of SSE on top, as people write it themselves."""

import json
import os
import platform
import sys
from importlib.metadata import version

import httpx

VERSIONS = {"httpx": version("httpx"), "python": platform.python_version()}


def main() -> None:
    """One stream, and what became of it."""
    leave = os.environ.get("GRADE_LEAVE_AFTER")
    text = ""
    found: dict[str, object] = {"outcome": "complete"}
    body = {
        "model": os.environ["GRADE_MODEL"],
        "messages": [{"role": "user", "content": os.environ["GRADE_PROMPT"]}],
        "stream": True,
    }
    url = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
    headers = {"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    client = httpx.Client()
    try:
        with client.stream("POST", url, json=body, headers=headers) as response:
            response.raise_for_status()
            pieces = 0
            for line in response.iter_lines():
                if not line.startswith("data: "):
                    continue
                if line == "data: [DONE]":
                    break
                choices = json.loads(line[6:]).get("choices")
                content = choices[0]["delta"].get("content") if choices else None
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
            "typed": isinstance(error, httpx.HTTPError),
        }
    print(json.dumps({**found, "text": text, "versions": VERSIONS}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
