"""httpx with httpx-sse, as its documentation shows it."""

import json
import os
import platform
import sys
from importlib.metadata import version

import httpx
from httpx_sse import connect_sse

VERSIONS = {
    "httpx-sse": version("httpx-sse"),
    "httpx": version("httpx"),
    "python": platform.python_version(),
}


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
        with connect_sse(client, "POST", url, json=body, headers=headers) as source:
            source.response.raise_for_status()
            pieces = 0
            for event in source.iter_sse():
                if event.data == "[DONE]":
                    break
                choices = json.loads(event.data).get("choices")
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
