"""Values that a JSON schema describes, from dice: arguments of tools and structured answers.

Rule 1: a value is valid under the keywords that providers accept for structured output: types,
        enum, const, properties, required, items, anyOf and its like, $ref inside the schema, bounds
        of numbers, lengths and formats. What is described otherwise may be anything.
Rule 2: a schema that refers to itself ends after `DEEPEST` levels: what may be left out is, and of
        alternatives null is taken, or the last one.
"""

from collections.abc import Mapping, Sequence
from math import ceil, floor
from random import Random
from typing import Any, Final

import msgspec

DEEPEST: Final = 6
_FORMATS: Final = {
    "date": "2026-01-0{}",
    "time": "12:00:0{}Z",
    "date-time": "2026-01-0{}T12:00:00Z",
    "duration": "PT{}S",
    "email": "user{}@example.com",
    "hostname": "host{}.example.com",
    "ipv4": "192.0.2.{}",
    "ipv6": "2001:db8::{}",
    "uri": "https://example.com/{}",
    "uuid": "00000000-0000-4000-8000-00000000000{}",
}


def json_text(schema: object, dice: Random, words: Sequence[str]) -> str:
    """JSON of a value that `schema` describes; {} where it describes none."""
    root = schema if isinstance(schema, Mapping) else {}
    value = _Values(root, dice, words).value({"type": "object", **root}, 0)
    return msgspec.json.encode(value).decode()


class _Values:
    def __init__(self, root: Mapping[str, Any], dice: Random, words: Sequence[str]) -> None:
        self._root = root
        self._dice = dice
        self._words = words

    def value(self, schema: object, depth: int) -> object:
        if not isinstance(schema, Mapping):
            return None  # true: anything is valid
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        options = schema.get("enum")
        if isinstance(options, list) and options:
            return self._dice.choice(options)
        match self._type_of(schema, depth):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return int(self._number(schema, whole=True))
            case "number":
                return self._number(schema, whole=False)
            case "boolean":
                return self._dice.random() < 0.5
            case "null":
                return None
            case _:
                return self._string(schema)

    def _resolved(self, schema: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        """With what it refers to, and with one of its alternatives."""
        for _ in range(DEEPEST):
            if isinstance(schema.get("$ref"), str):
                schema = {**self._found(schema["$ref"]), **_without(schema, "$ref")}
                continue
            key = next((k for k in ("allOf", "anyOf", "oneOf") if schema.get(k)), None)
            parts = schema.get(key) if key else None
            if not isinstance(parts, list):
                break
            chosen = parts if key == "allOf" else [_one_of(parts, depth)]
            schema = _without(schema, key or "")
            for part in chosen:
                schema = _merged(schema, part if isinstance(part, Mapping) else {})
        return schema

    def _found(self, reference: str) -> Mapping[str, Any]:
        place: object = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            place = place.get(name) if isinstance(place, Mapping) else None
        return place if isinstance(place, Mapping) else {}

    def _type_of(self, schema: Mapping[str, Any], depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, list) and depth >= DEEPEST and "null" in kind:
            return "null"
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if isinstance(kind, str):
            return kind
        return "object" if isinstance(schema.get("properties"), Mapping) else "string"

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, object]:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping):
            return {}
        needed = schema.get("required")
        names = needed if depth >= DEEPEST and isinstance(needed, list) else list(properties)
        if depth > 2 * DEEPEST:
            return {}  # no finite value is valid
        return {str(name): self.value(properties.get(name), depth + 1) for name in names}

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[object]:
        least = _whole(schema.get("minItems"), 0)
        most = max(least, _whole(schema.get("maxItems"), max(3, least)))
        count = least if depth >= DEEPEST else self._dice.randint(max(least, min(1, most)), most)
        return [self.value(schema.get("items", {}), depth + 1) for _ in range(min(count, 100))]

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        step = _real(schema.get("multipleOf"), 1.0 if whole else 0.5) or 1.0
        low: Any = schema.get("minimum")
        high: Any = schema.get("maximum")
        above: Any = schema.get("exclusiveMinimum")
        below: Any = schema.get("exclusiveMaximum")
        if _is_number(above):
            low = max(_real(low, above), (floor(above / step) + 1) * step)
        if _is_number(below):
            high = min(_real(high, below), (ceil(below / step) - 1) * step)
        start = _real(low, min(1.0, _real(high, 1.0)))
        end = _real(high, max(9.0, start + 8))
        first, last = ceil(start / step), floor(end / step)
        if last < first:
            return start  # no multiple lies between them
        return self._dice.randint(first, min(last, first + 1000)) * step

    def _string(self, schema: Mapping[str, Any]) -> str:
        form = _FORMATS.get(str(schema.get("format")))
        if form is not None:
            return form.format(self._dice.randint(1, 9))
        least, most = _whole(schema.get("minLength"), 0), schema.get("maxLength")
        text = self._word()
        while len(text) < least:
            text += f" {self._word()}"
        return text[:most] if isinstance(most, int) else text

    def _word(self) -> str:
        return self._dice.choice(self._words)


def _one_of(parts: list[object], depth: int) -> object:
    if depth < DEEPEST:
        return parts[0]
    nulls = (part for part in parts if isinstance(part, Mapping) and part.get("type") == "null")
    return next(nulls, parts[-1])


def _without(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both; properties and required names add up."""
    merged = {**first, **second}
    for key in ("properties",):
        if isinstance(first.get(key), Mapping) and isinstance(second.get(key), Mapping):
            merged[key] = {**first[key], **second[key]}
    if isinstance(first.get("required"), list) and isinstance(second.get("required"), list):
        merged["required"] = [*first["required"], *second["required"]]
    return merged


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _real(value: Any, default: float) -> float:
    return value if _is_number(value) else default


def _whole(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
