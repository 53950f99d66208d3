"""curl with the few lines that scripts put behind it."""

import json
import os
import subprocess
import sys

BODY = {
    "model": os.environ["GRADE_MODEL"],
    "messages": [{"role": "user", "content": os.environ["GRADE_PROMPT"]}],
    "stream": True,
}
COMMAND = (
    *("curl", "--silent", "--no-buffer", "--fail", "--json", json.dumps(BODY)),
    *("--header", f"Authorization: Bearer {os.environ['OPENAI_API_KEY']}"),
    f"{os.environ['OPENAI_BASE_URL']}/chat/completions",
)


def main() -> None:
    """One stream, and what became of it."""
    leave = os.environ.get("GRADE_LEAVE_AFTER")
    told = subprocess.run(("curl", "--version"), capture_output=True, text=True, check=True)
    versions = {"curl": told.stdout.split()[1]}
    text, pieces = "", 0
    found: dict[str, object] = {"outcome": "complete"}
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True, encoding="utf-8") as curl:
        assert curl.stdout is not None
        try:
            for line in curl.stdout:
                if line == "data: [DONE]\n":
                    curl.terminate()
                    break
                if not line.startswith("data: {"):
                    continue
                choices = json.loads(line[6:]).get("choices")
                content = choices[0]["delta"].get("content") if choices else None
                if content:
                    text += content
                    pieces += 1
                if leave and pieces >= int(leave):
                    found = {"outcome": "left"}
                    curl.terminate()
                    break
            code = curl.wait()
            if code > 0 and found["outcome"] != "left":
                found = {"outcome": "error", "error": f"curl: exit code {code}", "typed": True}
        except ValueError as error:
            curl.kill()
            found = {"outcome": "error", "error": type(error).__name__, "typed": False}
    print(json.dumps({**found, "text": text, "versions": versions}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
