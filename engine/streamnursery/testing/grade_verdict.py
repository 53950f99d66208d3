"""What a client made of a case: the provider's log against what the client said.

Rule 1: no request, no verdict: a client that did not ask has shown nothing.
Rule 2: a text counts as the answer if it is, character for character, what the provider meant.
Rule 3: an error counts if what was said before it is a few pieces of an answer, in order; leaving
        counts if something had been read, and the provider noticed.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from math import inf
from typing import Any, Final

from streamnursery.simulator.log import RequestRecord

_FEW: Final = 3


class Verdict(Enum):
    """What a client made of one case."""

    CORRECT = "correct"
    TYPED_ERROR = "typed error"
    RAW_ERROR = "raw error"
    """An error of another library, or of the language, that its user has to know about."""
    TRUNCATED = "SILENT TRUNCATION"
    """A part of the answer, reported as complete."""
    DUPLICATED = "DUPLICATED TEXT"
    WRONG = "WRONG TEXT"
    MARKED = "marked with U+FFFD"
    """What could not be decoded stands in the text as the replacement character."""
    HANG = "HANG"
    CRASH = "crash"
    STOPPED = "stopped"
    """The client left, and the provider noticed."""
    LEFT_RUNNING = "LEFT RUNNING"
    """The client left, and the provider went on generating."""
    DID_NOT_ASK = "did not ask"
    """No request reached the provider, whatever the client says."""

    @property
    def silent(self) -> bool:
        """Whether its user cannot know that something is wrong."""
        return self in (Verdict.TRUNCATED, Verdict.DUPLICATED, Verdict.WRONG, Verdict.LEFT_RUNNING)


def verdict_of(
    said: Mapping[str, Any] | None, log: Sequence[RequestRecord], leaked: int
) -> Verdict:
    """`said` is what the client reported, None if it had not ended in time; `leaked` are answers
    that were still under way when it had."""
    if not log:
        return Verdict.DID_NOT_ASK
    if said is None:
        return Verdict.HANG
    text = str(said.get("text", ""))
    match said["outcome"]:
        case "left":
            return _left(text, log, leaked)
        case "error":
            if not _comes_from(text, log):
                return Verdict.WRONG
            return Verdict.TYPED_ERROR if said.get("typed") else Verdict.RAW_ERROR
        case "complete":
            return judge_text(text, log)
        case _:
            return Verdict.CRASH


def judge_text(text: str, log: Sequence[RequestRecord]) -> Verdict:
    """A text that was called complete."""
    meant = next((record.intended() for record in log if record.reply is not None), "")
    if text == meant and meant:
        return Verdict.CORRECT
    if meant.startswith(text):
        return Verdict.TRUNCATED
    if meant and text.endswith(meant) and meant.startswith(text.removesuffix(meant)):
        return Verdict.DUPLICATED
    return Verdict.MARKED if "\ufffd" in text and "\ufffd" not in meant else Verdict.WRONG


def _left(text: str, log: Sequence[RequestRecord], leaked: int) -> Verdict:
    if not text or not _is_beginning(text, log):
        return Verdict.WRONG
    noticed = all(record.ending == "client gone" for record in log if record.sent_tokens)
    return Verdict.STOPPED if noticed and not leaked else Verdict.LEFT_RUNNING


def _comes_from(text: str, log: Sequence[RequestRecord]) -> bool:
    """Whether it is a few pieces of an answer in their order, marks of unreadable characters aside:
    a client that leaves out what it could not read, and says so, hides nothing."""
    said = text.replace("\ufffd", "")
    return any(_pieces(said, record.intended()) <= _FEW for record in log)


def _pieces(part: str, whole: str) -> float:
    """Of how many pieces of `whole`, in order and as long as can be, `part` is made."""
    count = 0
    while part:
        longest = min(len(part), len(whole))
        size = next((n for n in range(longest, 0, -1) if part[:n] in whole), 0)
        if not size:
            return inf
        whole = whole[whole.index(part[:size]) + size :]
        part = part[size:]
        count += 1
    return count


def _is_beginning(text: str, log: Sequence[RequestRecord]) -> bool:
    whole = text.partition("\ufffd")[0]
    return not whole or any(record.intended().startswith(whole) for record in log)
