"""How many tokens a request will use, before anybody has counted them.

Input: characters by class, as UTF-8 sorts them, each with its own share of a token; then a factor
for each model that follows the counts the provider returns. The shares are those of byte-pair
vocabularies of 100,000 to 200,000 entries on running text; what they miss, the factor learns.

Rule 1: linear in the text and without a step per character: an estimate is made for every request.
Rule 2: a factor moves slowly and within bounds: one odd count does not spoil the next estimates.
"""

from collections.abc import Mapping

import attrs

from streamnursery.values.request import ChatRequest
from streamnursery.values.usage import Usage

_TOKENS_PER_ASCII = 0.25
_TOKENS_PER_TWO_BYTES = 0.45
"""Latin with marks, Greek, Cyrillic, Hebrew, Arabic."""
_TOKENS_PER_THREE_BYTES = 0.8
"""Chinese, Japanese, Korean, Indian scripts."""
_TOKENS_PER_FOUR_BYTES = 2.0
"""Emoji and rare scripts."""
_TOKENS_PER_MESSAGE = 4
_TOKENS_PER_MEDIA = 800
"""An image or a sound: the length of its data says nothing."""
_MEDIA = ("image_url", "image", "input_image", "input_audio", "file", "document")
_ASSUMED_OUTPUT = 512
_WEIGHT = 0.1
"""Of the latest count in a model's averages; the first ones weigh more."""
_LEAST, _MOST = 0.2, 5.0
_DEPTH = 8
"""Levels of a message or a tool that are looked into."""


def text_tokens(text: str) -> float:
    """Tokens of running text."""
    if text.isascii():
        return len(text) * _TOKENS_PER_ASCII
    # Four equations for four classes: characters, ASCII ones, bytes, and UTF-16 units.
    characters = len(text)
    ascii_ones = len(text.encode("ascii", "ignore"))
    total_bytes = len(text.encode("utf-8", "surrogatepass"))
    four = len(text.encode("utf-16-le", "surrogatepass")) // 2 - characters
    three = total_bytes + ascii_ones - 2 * four - 2 * characters
    two = characters - ascii_ones - four - three
    return (
        ascii_ones * _TOKENS_PER_ASCII
        + two * _TOKENS_PER_TWO_BYTES
        + three * _TOKENS_PER_THREE_BYTES
        + four * _TOKENS_PER_FOUR_BYTES
    )


def input_tokens(request: ChatRequest) -> float:
    """Tokens of everything that `request` sends, before any calibration."""
    tokens = 0.0
    for message in request.messages:
        tokens += _TOKENS_PER_MESSAGE
        content = message.get("content")
        tokens += text_tokens(content) if isinstance(content, str) else _value(content, _DEPTH)
        if len(message) > 2:
            others = {k: v for k, v in message.items() if k not in ("role", "content")}
            tokens += _value(others, _DEPTH)
    if request.tools:
        tokens += _value(request.tools, _DEPTH)
    if request.response_format:
        tokens += _value(request.response_format, _DEPTH)
    return tokens


def _value(value: object, depth: int) -> float:
    """Tokens of the JSON that stands for `value`; of media what media cost."""
    if isinstance(value, str):
        return text_tokens(value)
    if depth == 0 or value is None:
        return 1.0
    if isinstance(value, Mapping):
        if value.get("type") in _MEDIA:
            return _TOKENS_PER_MEDIA
        return sum(1.0 + _value(k, 1) + _value(v, depth - 1) for k, v in value.items())
    if isinstance(value, list | tuple):
        return sum(_value(item, depth - 1) for item in value)
    return 1.0


@attrs.define
class _Model:
    """What was learned of one model."""

    factor: float = 1.0
    inputs: int = 0
    """Counts that `factor` is made of."""
    output: float = _ASSUMED_OUTPUT
    outputs: int = 0


class TokenEstimates:
    """Estimates for every model, calibrated by what the provider returned."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}

    def factor(self, model: str) -> float:
        """What this model's tokens are to ours."""
        known = self._models.get(model)
        return known.factor if known is not None else 1.0

    def tokens(self, model: str, request: ChatRequest, raw: float) -> tuple[int, int]:
        """Input and output tokens of `request` at `model`; `raw` is its `input_tokens`.

        The output is what the request allows at most, else what the model's answers were so far.
        """
        known = self._models.get(model)
        factor, output = (known.factor, known.output) if known else (1.0, _ASSUMED_OUTPUT)
        each = request.max_tokens if request.max_tokens is not None else output
        return round(raw * factor) or 1, round(each * (request.n or 1)) or 1

    def learn(self, model: str, raw: float, usage: Usage) -> None:
        """A request that was estimated at `raw` tokens really had `usage`."""
        known = self._models.setdefault(model, _Model())
        if usage.input_tokens is not None and usage.input_tokens > 0 and raw > 0:
            known.inputs += 1
            seen = min(_MOST, max(_LEAST, usage.input_tokens / raw))
            known.factor += (seen - known.factor) * max(_WEIGHT, 1 / known.inputs)
        if usage.output_tokens is not None and usage.output_tokens > 0:
            known.outputs += 1
            known.output += (usage.output_tokens - known.output) * max(_WEIGHT, 1 / known.outputs)
