"""A credential that does not print, pickle or compare byte by byte."""

import hmac
import re
from collections.abc import Callable, Iterable
from typing import NoReturn

_QUOTES = "\"'`\u2018\u2019\u201c\u201d"
_SCHEME = re.compile(r"(authorization\s*:\s*)?bearer\b[\s:]*", re.IGNORECASE)


class Secret:
    """Holds one credential; only `reveal()` shows it.

    `repr`, `str`, `format` and `vars` show a constant, pickling raises
    `TypeError`, equality takes constant time, a copy is the same object.
    """

    __slots__ = ("_reveal",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str) or not value.strip():
            del value  # the frame of this error would show it
            msg = "a Secret needs a non-empty string; leave the key out instead"
            raise ValueError(msg)

        # A closure and not an attribute: nothing that walks __slots__ or vars() finds the text.
        def reveal() -> str:
            return value

        self._reveal = reveal

    def reveal(self) -> str:
        """The credential itself; for the one line that puts it on the wire."""
        return self._reveal()

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # Text of the environment may hold surrogates, and an encoding error would hold the text.
        ours, theirs = (s.reveal().encode(errors="surrogatepass") for s in (self, other))
        return hmac.compare_digest(ours, theirs)

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> NoReturn:
        msg = "a Secret cannot be pickled; pass the name of its environment variable instead"
        raise TypeError(msg)


class RenewableSecret(Secret):
    """A credential kept in a place where another program may replace it, such as a file."""

    __slots__ = ("_read_again", "readable_by_others")

    def __init__(
        self, value: str, read_again: Callable[[], str | None], *, readable_by_others: bool = False
    ) -> None:
        super().__init__(value)
        self._read_again = read_again
        self.readable_by_others = readable_by_others
        """Whether its place is open to every user of the machine."""

    def renew(self) -> bool:
        """Take what stands in its place now; False where that is unusable or the same.

        Every holder of this object has the new credential afterwards.
        """
        value = self._read_again()
        if value is None or value == self.reveal():
            return False
        self._reveal = Secret(value)._reveal
        return True


def key_problem(key: Secret) -> str | None:
    """What has to be removed from a key before it can be sent, or None. Repeats nothing of it."""
    text = key.reveal()
    inner = text.strip()
    found = []
    if inner[0] in _QUOTES or inner[-1] in _QUOTES:
        found.append("quotes around it (docker's --env-file keeps them)")
        inner = inner.strip(_QUOTES).strip()
    if _SCHEME.match(inner):
        found.append('the word "Bearer" before it (the engine writes that itself)')
        inner = _SCHEME.sub("", inner, count=1)
    if "\r" in text:
        found.append("a carriage return (CR) in it, from a file with Windows line ends")
    if re.search(r"[ \t\n]", inner) or text.strip(" \t\n") != text:
        found.append("blanks or line breaks in it")
    if found:
        return f"the key has {' and '.join(found)}; remove that, or copy it again"
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        return "the key has control characters or non-ASCII in it; copy it again"
    return None


_SHORTEST_BEGINNING = 6
"""Characters of a secret at the end of a text that was cut which are worth hiding."""


def secret_texts(headers: Iterable[tuple[str, "str | Secret"]]) -> list[str]:
    """The credentials among `headers`, without "Bearer "."""
    held = (value.reveal() for _, value in headers if isinstance(value, Secret))
    return [text.rpartition(" ")[2] if text.startswith("Bearer ") else text for text in held]


SHORTEST_SECRET = 4
"""Characters. Less is a placeholder for a server without keys, and would be found in every text."""


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """`text` with `***` in place of every secret, and of the beginning of one at its end."""
    for secret in secrets:
        if len(secret) < SHORTEST_SECRET:
            continue
        text = text.replace(secret, "***")
        for length in range(min(len(secret), len(text)), _SHORTEST_BEGINNING - 1, -1):
            if text.endswith(secret[:length]):
                text = text[:-length] + "***"
                break
    return text
