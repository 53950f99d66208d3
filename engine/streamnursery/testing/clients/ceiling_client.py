"""The ceiling of the table: a client of the standard library that does well in every case.

It is not an engine: one request, three tries, two clocks, and a reader that believes nothing but an
end mark. What it does is what the table asks for.
"""

import http.client
import json
import os
import platform
import re
import sys
import time
from urllib.parse import urlsplit

TRIES = 3
SILENCE = 20.0
"""Seconds without an event, comments aside, after which an answer counts as dead."""
LONGEST_LINE = 1024 * 1024
_LINE_END = re.compile(rb"\r\n|\n|\r(?!$)")


class AskingFailedError(Exception):
    """There is no whole answer; `again`: nothing was said yet, and another try may help."""

    def __init__(self, why: str, *, again: bool = False, after: float = 0.2) -> None:
        super().__init__(why)
        self.again = again
        self.after = after


class AnswerRead:
    """What was read of one answer."""

    def __init__(self, leave: int) -> None:
        self.text = ""
        self.left = False
        self.whole = False
        self._leave = leave
        self._pieces = 0

    def take(self, data: str) -> bool:
        """Whether this event was the last."""
        if data == "[DONE]":
            if not (self.whole or self.text):
                raise AskingFailedError("an end mark, and nothing before it")
            self.whole = True
            return True
        event = json.loads(data)
        if event.get("error"):
            raise AskingFailedError(str(event["error"]), again=not self.text)
        for choice in event.get("choices", ()):
            content = choice["delta"].get("content") or ""
            self.text += content
            self._pieces += bool(content)
            if choice.get("finish_reason") == "error":
                raise AskingFailedError("it ended with an error")
            self.whole = self.whole or bool(choice.get("finish_reason"))
        self.left = bool(self._leave) and self._pieces >= self._leave
        return self.left


def ask(answer: AnswerRead) -> None:
    """One try."""
    url = urlsplit(os.environ["OPENAI_BASE_URL"])
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=SILENCE)
    body = {
        "model": os.environ["GRADE_MODEL"],
        "messages": [{"role": "user", "content": os.environ["GRADE_PROMPT"]}],
        "stream": True,
    }
    headers = {"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    headers["content-type"] = "application/json"
    try:
        connection.request("POST", f"{url.path}/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        _check_head(response)
        _read(response, answer)
    finally:
        connection.close()


def _check_head(response: http.client.HTTPResponse) -> None:
    if response.status != http.client.OK:
        said = response.read(65536)
        busy = response.status in (429, 500, 502, 503, 504) and b"insufficient_quota" not in said
        after = float(response.headers.get("retry-after") or 0.2)
        why = f"status {response.status}"
        raise AskingFailedError(why, again=busy, after=after)
    if response.headers.get_content_type() != "text/event-stream":
        raise AskingFailedError("no stream of events")


def _read(response: http.client.HTTPResponse, answer: AnswerRead) -> None:
    kept, heard = b"", time.monotonic()
    while data := response.read1(65536):
        *lines, kept = _LINE_END.split(kept + data)
        if len(kept) > LONGEST_LINE:
            raise AskingFailedError("a line without an end")
        for line in lines:
            field, _, value = line.partition(b":")
            if field != b"data":
                continue
            heard = time.monotonic()
            if answer.take(value.removeprefix(b" ").decode()):
                return
        if time.monotonic() - heard > SILENCE:
            raise AskingFailedError("silence, but for comments", again=not answer.text)
    if not answer.whole:
        raise AskingFailedError("the end came too early", again=not answer.text)


def main() -> None:
    """Up to three tries, and what became of them."""
    leave = int(os.environ.get("GRADE_LEAVE_AFTER") or 0)
    found: dict[str, object] = {"outcome": "error", "error": "AskingFailedError", "typed": True}
    for left in reversed(range(TRIES)):
        answer = AnswerRead(leave)
        try:
            ask(answer)
            found = {"outcome": "left" if answer.left else "complete"}
            break
        except AskingFailedError as error:
            again, after = error.again, error.after
        except (OSError, http.client.HTTPException, ValueError) as error:
            again, after = not answer.text and not isinstance(error, ValueError), 0.2
        if not (again and left):
            break
        time.sleep(after)
    versions = {"python": platform.python_version()}
    print(json.dumps({**found, "text": answer.text, "versions": versions}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
