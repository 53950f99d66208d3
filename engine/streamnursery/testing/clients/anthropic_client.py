"""Anthropic's own client, as its documentation shows it; with `relayed`, over this engine."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import anthropic

VERSIONS = {"anthropic": version("anthropic"), "python": platform.python_version()}


@contextmanager
def made() -> Iterator[anthropic.Anthropic]:
    """The client; what it is given stands in docs/sdk.md."""
    if sys.argv[1:] != ["relayed"]:
        yield anthropic.Anthropic()
        return
    from streamnursery import sdk, sync

    # The engine knows api.anthropic.com; another server's dialect is configured.
    url = os.environ["ANTHROPIC_BASE_URL"] + "/v1"
    graded = {"url": url, "dialect": "anthropic-messages"}
    with sync.open_engine({"endpoints": {"graded": graded}}) as eng:
        yield anthropic.Anthropic(http_client=sdk.client(eng), max_retries=0)


def main() -> None:
    """One stream, and what became of it."""
    with made() as client:
        print(json.dumps({**asked(client), "versions": VERSIONS}), flush=True)
        sys.stdin.read()


def asked(client: anthropic.Anthropic) -> dict[str, object]:
    """The finding."""
    leave = os.environ.get("GRADE_LEAVE_AFTER")
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
    return {**found, "text": text}


if __name__ == "__main__":
    main()
