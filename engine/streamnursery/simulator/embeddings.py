"""Embeddings of a simulated provider: unit vectors that follow from the model and the words.

Rule 1: texts that share words are near each other, in whatever order these stand. Equal texts have
        equal vectors, in every process.
Rule 2: as OpenAI answers, base64 is little-endian float32.
"""

from array import array
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from math import sqrt
from sys import byteorder
from typing import Any, Final

import msgspec

from streamnursery.serving.steps import Step
from streamnursery.simulator.exchange import Exchange
from streamnursery.simulator.grammar import ScriptError, split_model
from streamnursery.wire.openai_chat.server import ApiError, json_object

DIMENSIONS: Final[Mapping[str, int]] = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
"""Of models that only embed; a provider's other models have `OTHER`."""
OTHER: Final = 256
MOST_TEXTS: Final = 2048
_PLACES: Final = 16
"""Components that one word has a share in."""


def vector(model: str, text: str, dimensions: int) -> list[float]:
    """The unit vector of a text."""
    found = [0.0] * dimensions
    for word in text.casefold().split() or [text]:
        for number in range(2):
            data = f"{model}\n{number}\n{word}".encode()
            digest = blake2b(data, digest_size=4 * _PLACES // 2).digest()
            for at in range(0, len(digest), 4):
                place = int.from_bytes(digest[at : at + 4], "big")
                found[(place >> 1) % dimensions] += 1.0 if place & 1 else -1.0
    length = sqrt(sum(part * part for part in found))
    if not length:
        found[0] = length = 1.0
    return [part / length for part in found]


def answer(exchange: Exchange, _: str, body: bytes, now: float) -> Iterator[Step]:
    """`POST /v1/embeddings`."""
    exchange.only("POST")
    asked = json_object(body)
    named = asked.get("model")
    if not isinstance(named, str) or not named.strip():
        raise ApiError(400, "you must provide a model parameter", param="model")
    try:
        model, script = split_model(named)
    except ScriptError as error:
        raise ApiError(400, str(error), param="model", code="invalid_script") from None
    if model not in DIMENSIONS:
        exchange.state.profile(model)
    texts = _texts(asked.get("input"))
    dimensions = _dimensions(asked.get("dimensions"), DIMENSIONS.get(model, OTHER))
    form = asked.get("encoding_format", "float")
    if form not in ("float", "base64"):
        msg = "Invalid value for 'encoding_format': expected 'float' or 'base64'."
        raise ApiError(400, msg, param="encoding_format")
    tokens = sum(max(1, len(text.split())) for text in texts)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _written(vector(model, text, dimensions), form),
        }
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    made = {"object": "list", "data": data, "model": named, "usage": usage}
    return exchange.plain(model, script, msgspec.json.encode(made), now, tokens=len(texts))


def _written(found: Sequence[float], form: object) -> object:
    if form == "float":
        return found
    values = array("f", found)
    if byteorder == "big":
        values.byteswap()
    return b64encode(values.tobytes()).decode()


def _texts(given: Any) -> list[str]:
    """The texts; tokens, as numbers, are words of their own."""
    items = given if isinstance(given, list) else [given]
    if items and all(isinstance(item, int) for item in items):
        items = [items]
    texts = [" ".join(map(str, item)) if isinstance(item, list) else item for item in items]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        msg = "Invalid value for 'input': expected a string or a list of them, none empty."
        raise ApiError(400, msg, param="input")
    if len(texts) > MOST_TEXTS:
        msg = f"Invalid value for 'input': at most {MOST_TEXTS} texts in a request."
        raise ApiError(400, msg, param="input")
    return texts


def _dimensions(given: object, own: int) -> int:
    if given is None:
        return own
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= own:
        msg = f"Invalid value for 'dimensions': expected a whole number from 1 to {own}."
        raise ApiError(400, msg, param="dimensions")
    return given
