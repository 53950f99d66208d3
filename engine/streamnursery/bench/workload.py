"""What is asked: synthetic prompts, or requests from a file; models by weight. Seeded.

Lengths are in tokens at 4 characters each, the usual rule of thumb for English; what was really
used is in the provider's usage.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from streamnursery.values.errors import RequestError
from streamnursery.values.request import ChatRequest, make_request

_CHARS_PER_TOKEN = 4
_WORDS = (
    *("stream", "river", "token", "engine", "cloud", "window", "garden", "number", "letter"),
    *("signal", "copper", "bridge", "harbor", "violet", "planet", "silver", "morning"),
    *("pattern", "shadow", "mirror", "forest", "thunder", "canvas", "meadow"),
)
MAX_LINES = 1_000_000
MAX_LINE_BYTES = 8 * 1024 * 1024


class WorkloadError(ValueError):
    """What is wrong with a workload, one line a mistake."""


@attrs.frozen
class Lengths:
    """A distribution of lengths in tokens: normal, cut to its ends. `stdev` 0 is a constant."""

    mean: float
    stdev: float = 0.0
    low: int = 1
    high: int = 1_000_000

    def draw(self, dice: random.Random) -> int:
        """One length."""
        length = self.mean if not self.stdev else dice.gauss(self.mean, self.stdev)
        return max(self.low, min(self.high, round(length)))

    @classmethod
    def parse(cls, text: str) -> "Lengths":
        """Read `200`, `200+-50` or `100..400` (evenly wide: mean in the middle).

        Raises:
            WorkloadError: it is none of them.
        """
        try:
            if ".." in text:
                low, high = (int(part) for part in text.split(".."))
                if not 1 <= low <= high:
                    raise ValueError
                return cls((low + high) / 2, (high - low) / 4, low, high)
            mean, varies, stdev = text.replace("±", "+-").partition("+-")
            found = cls(float(mean), float(stdev) if varies else 0.0)
            if not (1 <= found.mean <= found.high and 0 <= found.stdev <= found.high):
                raise ValueError
        except ValueError:
            msg = f"{text!r:.40} is no length in tokens; write 200, 200+-50 or 100..400"
            raise WorkloadError(msg) from None
        return found


@attrs.frozen
class Synthetic:
    """Prompts of words, each different, so that no cache of the provider's answers them."""

    models: Mapping[str, float]
    """Weights by name."""
    input_tokens: Lengths = Lengths(64)
    output_tokens: Lengths | None = Lengths(128)
    """`max_tokens` of each request; None leaves it to the model."""
    body: Mapping[str, Any] = attrs.field(factory=dict)
    """Further fields of each body."""

    def requests(self, dice: random.Random) -> Iterator[ChatRequest]:
        """Without end."""
        names, weights = list(self.models), list(self.models.values())
        fields, extra = body_fields(self.body)
        number = 0
        while True:
            number += 1
            (model,) = dice.choices(names, weights)
            size = self.input_tokens.draw(dice) * _CHARS_PER_TOKEN
            yield make_request(
                model,
                _prompt(number, size, dice),
                **{
                    "max_tokens": self.output_tokens.draw(dice) if self.output_tokens else None,
                    **fields,
                },
                extra=extra,
            )


def _prompt(number: int, size: int, dice: random.Random) -> str:
    text = f"Continue, request {number}.{dice.getrandbits(32):08x}:"
    words = [text]
    length = len(text)
    while length < size:
        word = dice.choice(_WORDS)
        words.append(word)
        length += len(word) + 1
    return " ".join(words)[: max(size, len(text))]


@attrs.frozen
class Given:
    """Requests from a file, in its order, again from the start when it is used up."""

    items: tuple[ChatRequest, ...] = attrs.field(repr=False)

    def requests(self, dice: random.Random) -> Iterator[ChatRequest]:
        """Without end."""
        del dice
        while True:
            yield from self.items


Workload = Synthetic | Given


def body_fields(body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a chat body that a `ChatRequest` has, and the others, which are sent as they
    are."""
    known = set(attrs.fields_dict(ChatRequest)) - {"priority", "patience", "retries", "extra"}
    extra = {key: value for key, value in body.items() if key not in known}
    return {key: value for key, value in body.items() if key in known}, extra


def read_requests(
    text: str, models: Sequence[str], body: Mapping[str, Any] | None = None
) -> tuple[Given, tuple[float, ...] | None]:
    """Requests from JSONL, and their dates where every line has one.

    A line is `{"prompt": "..."}`, a body as for chat completions, or a line of OpenAI's batch
    files with that body in `body`; `"at"` is seconds from the start. A line without a model goes
    to `models` in turn. `body` has further fields, where a line does not have them itself.

    Raises:
        WorkloadError: every line that cannot be used, up to 20 of them.
    """
    items: list[ChatRequest] = []
    dates: list[float] = []
    problems: list[str] = []
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > MAX_LINES:
        problems.append(f"{len(lines)} lines, at most {MAX_LINES} are taken")
        lines = []
    for number, line in enumerate(lines, 1):
        try:
            model = models[len(items) % len(models)] if models else None
            request, at = _line(line, model, body or {})
        except (RequestError, ValueError, TypeError) as error:
            problems.append(f"line {number}: {error}")
            if len(problems) >= 20:
                break
            continue
        items.append(request)
        if at is not None:
            dates.append(at)
    if not items and not problems:
        problems.append("no request in it")
    if problems:
        raise WorkloadError("\n".join(problems))
    return Given(tuple(items)), tuple(dates) if len(dates) == len(items) else None


def _line(
    line: str, model: str | None, more: Mapping[str, Any]
) -> tuple[ChatRequest, float | None]:
    if len(line) > MAX_LINE_BYTES:
        msg = f"{len(line)} characters, at most {MAX_LINE_BYTES}"
        raise ValueError(msg)
    try:
        given = json.loads(line)
    except ValueError:
        raise ValueError('is not JSON; write {"prompt": "..."} or a chat body') from None
    if not isinstance(given, dict):
        raise TypeError('is no object; write {"prompt": "..."}')
    at = given.pop("at", None)
    if at is not None and (not isinstance(at, int | float) or isinstance(at, bool) or at < 0):
        raise ValueError("`at` is seconds from the start, 0 or more")
    own = given["body"] if isinstance(given.get("body"), dict) else given
    body: dict[str, Any] = {**more, **own}
    name = body.pop("model", None) or model
    if not isinstance(name, str):
        raise TypeError("names no model; give one with -m or in the line")
    for ignored in ("stream", "stream_options", "custom_id", "method", "url"):
        body.pop(ignored, None)
    prompt = body.pop("prompt", None)
    fields, extra = body_fields(body)
    if prompt is not None:
        return make_request(name, prompt, **fields, extra=extra), at
    return make_request(name, **fields, extra=extra), at
