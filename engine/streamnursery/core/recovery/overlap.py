"""Where a continued answer begins anew: what it repeats of the text before it is left out.

A model that is asked to go on may begin with the last words, the last sentence or all of what it
was given. The longest beginning of the continuation that the delivered text ends with is dropped.

Rule 1: text is held back only while it may still turn out to be a repetition, and that is as long
        as all of it stands, as it is, in the delivered text.
Rule 2: a short repetition may be meant ("very, very"): below `MIN_OVERLAP` characters nothing is
        dropped, unless it is all that was delivered, and that is `MIN_WHOLE` long or begins with a
        capital: a model that begins again says it like this, one that goes on does not.
Rule 3: memory is bounded by `WINDOW`: a repetition that reaches further back is not recognised.
"""

from typing import Final

MIN_OVERLAP: Final = 16
MIN_WHOLE: Final = 4
WINDOW: Final = 64 * 1024
"""Characters of the delivered text that are compared."""


class Overlap:
    """Takes the pieces of a continuation; gives what is new in it."""

    __slots__ = ("_at", "_held", "_min", "_tail", "_text", "open")

    def __init__(self, delivered: str, *, tail: str = "", at_least: int | None = None) -> None:
        """`tail` is the white space after `delivered` that was delivered too, and that the model
        was not shown; `at_least` the shortest repetition that is dropped, in characters."""
        if at_least is None:
            at_least = shortest_repetition(delivered)
        self._text = delivered[-WINDOW:]
        self._tail = tail
        self._min = at_least
        self._held = ""
        self._at = 0
        """The first place at which all of `_held` stands in `_text`."""
        self.open = bool(delivered)
        """Whether a repetition may still begin or go on."""

    def feed(self, piece: str) -> str:
        """The part of all pieces so far that is new, and was not given yet."""
        if not self.open:
            return self._past_tail(piece)
        before = len(self._held)
        self._held += piece
        if not self._text.startswith(piece, self._at + before):
            self._at = self._text.find(self._held, self._at + 1)
        if self._at < 0 or self._at + len(self._held) == len(self._text):
            return self.end()
        return ""

    def end(self) -> str:
        """No more waiting: what was held back and is new."""
        if not self.open:
            return ""
        self.open = False
        held, text = self._held, self._text
        self._held = self._text = ""
        repeated = longest_overlap(text, held)
        return self._past_tail(held[repeated:] if repeated >= self._min else held)

    def _past_tail(self, new: str) -> str:
        if not self._tail or not new:
            return new
        same = 0
        while same < min(len(self._tail), len(new)) and self._tail[same] == new[same]:
            same += 1
        self._tail = self._tail[same:] if same == len(new) else ""
        return new[same:]


def shortest_repetition(delivered: str) -> int:
    """Characters from which on a repetition is dropped (rule 2)."""
    if delivered[:1].isupper():
        return min(MIN_OVERLAP, len(delivered))
    return max(MIN_WHOLE, min(MIN_OVERLAP, len(delivered)))


def longest_overlap(before: str, after: str) -> int:
    """Characters of the longest end of `before` that `after` begins with; linear in both.

    The failure function of Knuth, Morris and Pratt, of `after` and run over `before`.
    """
    after = after[: len(before)]
    if not after or before.endswith(after):
        return len(after)
    fail = [0] * len(after)
    k = 0
    for i in range(1, len(after)):
        while k and after[i] != after[k]:
            k = fail[k - 1]
        k += after[i] == after[k]
        fail[i] = k
    k = 0
    for sign in before[-len(after) :]:
        while k and (k == len(after) or sign != after[k]):
            k = fail[k - 1]
        k += sign == after[k]
    return k
