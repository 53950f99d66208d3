"""How a server of the Messages API signs what its models think, and what it refuses unsigned.

The signature here is a digest: it says that the text is the one that was sent, which is what a
client can get wrong.
"""

from base64 import b64encode
from hashlib import blake2b
from typing import Any

from streamnursery.wire.openai_chat.server import ApiError

_KEY = b"streamnursery-sim"


def signature(text: str) -> str:
    """Of a thinking block with this text."""
    digest = blake2b(text.encode("utf-8", "replace"), key=_KEY, digest_size=24).digest()
    return b64encode(digest).decode()


def check_thinking(messages: list[Any], *, enabled: bool) -> None:
    """Every thinking block is signed, and a turn that calls tools begins with one while thinking is
    enabled.

    Raises:
        ApiError: with status 400.
    """
    last_asked = max(
        (i for i, m in enumerate(messages) if _role(m) == "user" and not _results(m)), default=-1
    )
    for place, message in enumerate(messages):
        blocks = _content(message)
        for number, block in enumerate(blocks):
            if block.get("type") == "thinking":
                _check_signature(block, f"messages.{place}.content.{number}")
        # The turns since the user spoke last: those before may come without their thoughts.
        calls = any(block.get("type") == "tool_use" for block in blocks)
        if enabled and calls and place > last_asked and not _thinks(blocks[0]):
            msg = (
                f"messages.{place}.content.0.type: Expected `thinking` or `redacted_thinking`, but "
                f"found `{blocks[0].get('type')}`. When `thinking` is enabled, a final `assistant` "
                "message must start with a thinking block."
            )
            raise ApiError(400, msg)


def _check_signature(block: dict[str, Any], where: str) -> None:
    if not block.get("signature"):
        raise ApiError(400, f"{where}.thinking.signature: Field required")
    if block["signature"] != signature(str(block.get("thinking"))):
        raise ApiError(400, f"{where}: Invalid `signature` in `thinking` block")


def _thinks(block: dict[str, Any]) -> bool:
    return block.get("type") in ("thinking", "redacted_thinking")


def _role(message: object) -> object:
    return message.get("role") if isinstance(message, dict) else None


def _content(message: object) -> list[dict[str, Any]]:
    content = message.get("content") if isinstance(message, dict) else None
    found = content if isinstance(content, list) else []
    return [block for block in found if isinstance(block, dict)]


def _results(message: object) -> bool:
    return any(block.get("type") == "tool_result" for block in _content(message))
