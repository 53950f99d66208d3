"""How a Gemini server signs the parts of a thinking model, and what it refuses unsigned.

The signature here is a digest of what the part says, which is what a client can get wrong.
"""

from base64 import b64encode
from hashlib import blake2b
from typing import Any

import msgspec

from streamnursery.wire.openai_chat.server import ApiError

_KEY = b"streamnursery-sim"
SKIPPED = "skip_thought_signature_validator"
"""What a client sends with a call that another model has made."""


def sign(part: dict[str, Any]) -> str:
    """The signature of a call, or of a text."""
    call = part.get("functionCall")
    if isinstance(call, dict):
        said: object = [call.get("name"), call.get("args") or {}]
    else:
        said = part.get("text", "")
    text = msgspec.json.encode(said, order="sorted")
    digest = blake2b(text, key=_KEY, digest_size=24).digest()
    return b64encode(digest).decode()


def check_signatures(contents: list[dict[str, Any]], *, thinking: bool) -> None:
    """Every signature is that of its part, and while the model thinks, the first call of each step
    of the turn has one.

    Raises:
        ApiError: with status 400.
    """
    asked = max((i for i, c in enumerate(contents) if _speaks(c)), default=-1)
    for place, content in enumerate(contents):
        if content.get("role") != "model":
            continue
        calls = [part for part in _parts(content) if "functionCall" in part]
        if thinking and place > asked and calls and not calls[0].get("thoughtSignature"):
            name = (calls[0].get("functionCall") or {}).get("name")
            msg = (
                "Function call is missing a thought_signature in functionCall parts. Function call "
                f"`{name}`, content position {place}."
            )
            raise ApiError(400, msg)
        for part in _parts(content):
            signature = part.get("thoughtSignature")
            # Google's own client writes bytes in the alphabet for URLs.
            plain = str(signature).replace("-", "+").replace("_", "/")
            if signature not in (None, SKIPPED) and plain != sign(part):
                raise ApiError(400, f"Thought signature is not valid: contents[{place}].")


def _speaks(content: dict[str, Any]) -> bool:
    """Whether the user says something in it, and not a function."""
    parts = _parts(content)
    return content.get("role") == "user" and not any("functionResponse" in part for part in parts)


def _parts(content: dict[str, Any]) -> list[dict[str, Any]]:
    parts = content.get("parts")
    return [p for p in parts if isinstance(p, dict)] if isinstance(parts, list) else []
