"""Parts of an answer that are handed on unread."""

import msgspec

_SHOWN = 200
"""Bytes of an opaque part that its repr shows."""


class OpaquePart(msgspec.Struct, frozen=True, gc=False):
    """A part of the answer that has no type of its own here: an image, a signature that the next
    request must hold, log probabilities. It is handed on as it came and never read."""

    index: int
    """Which of the `n` choices it belongs to."""
    kind: str
    """The provider's name for it: the field that held it."""
    data: msgspec.Raw
    """JSON, UTF-8."""
    tool_index: int | None = None
    """The tool call that it belongs to, if it belongs to one."""

    def __repr__(self) -> str:
        # An image has megabytes.
        data = bytes(self.data)
        shown = data[:_SHOWN].decode("utf-8", "replace") + ("..." if len(data) > _SHOWN else "")
        of = "" if self.tool_index is None else f", tool_index={self.tool_index}"
        return f"OpaquePart(index={self.index}, kind={self.kind!r}, data={shown}{of})"
