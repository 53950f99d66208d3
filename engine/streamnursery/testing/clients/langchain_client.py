"""langchain-openai, as its documentation shows it."""

import json
import os
import platform
import sys
from importlib.metadata import version

import openai
from langchain_core.exceptions import LangChainException
from langchain_openai import ChatOpenAI

VERSIONS = {
    "langchain-openai": version("langchain-openai"),
    "openai": version("openai"),
    "python": platform.python_version(),
}


def main() -> None:
    """One stream, and what became of it."""
    leave = os.environ.get("GRADE_LEAVE_AFTER")
    text = ""
    found: dict[str, object] = {"outcome": "complete"}
    try:
        model = ChatOpenAI(model=os.environ["GRADE_MODEL"])
        pieces = 0
        for chunk in model.stream(os.environ["GRADE_PROMPT"]):
            content = str(chunk.content)
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
            "typed": isinstance(error, LangChainException | openai.OpenAIError),
        }
    print(json.dumps({**found, "text": text, "versions": VERSIONS}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
