"""A credential that does not print, pickle or compare byte by byte."""

import hmac
from collections.abc import Iterable
from typing import NoReturn


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


_SHORTEST_BEGINNING = 6
"""Characters of a secret at the end of a text that was cut which are worth hiding."""


def secret_texts(headers: Iterable[tuple[str, "str | Secret"]]) -> list[str]:
    """The credentials among `headers`, without "Bearer "."""
    held = (value.reveal() for _, value in headers if isinstance(value, Secret))
    return [text.rpartition(" ")[2] if text.startswith("Bearer ") else text for text in held]


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """`text` with `***` in place of every secret, and of the beginning of one at its end."""
    for secret in secrets:
        text = text.replace(secret, "***")
        for length in range(min(len(secret), len(text)), _SHORTEST_BEGINNING - 1, -1):
            if text.endswith(secret[:length]):
                text = text[:-length] + "***"
                break
    return text
