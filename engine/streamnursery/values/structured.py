"""Answers that are values: from a class or a schema to what is asked for, and back from text.

msgspec makes the schema and reads the text of Struct, attrs, dataclass and TypedDict classes;
pydantic models do both themselves and are known by their methods, so nothing imports pydantic.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeAlias, is_typeddict

import attrs
import msgspec

from streamnursery.values.errors import RequestError, StructuredOutputError

ResponseFormat: TypeAlias = Mapping[str, Any] | type[Any]
"""What `response_format=` takes: the API's own `{"type": "json_schema" or "json_object" or "text",
...}`, a JSON schema, or a class: msgspec Struct, attrs, dataclass, TypedDict, pydantic model."""

_API_KINDS = ("json_schema", "json_object", "text")
_SHOWN = 80


class TypedFormat(dict[str, Any]):
    """A `response_format` of the API that was made from a class, and remembers it."""

    kind: type[Any]


def as_response_format(asked: Any) -> Any:
    """`asked` as APIs take it; what is neither a class nor a mapping is left for the check.

    Raises:
        RequestError: no schema can be made of that class.
    """
    if isinstance(asked, TypedFormat) or asked is None:
        return asked
    if isinstance(asked, type):
        return _typed(asked)
    if isinstance(asked, Mapping) and _is_schema(asked):
        return _boxed(str(asked.get("title", "answer")), asked, strict=False)
    return asked


def _is_schema(asked: Mapping[str, Any]) -> bool:
    kind = asked.get("type")
    return kind not in _API_KINDS and (
        kind in ("object", "array") or any(key in asked for key in ("properties", "$ref", "anyOf"))
    )


def _typed(kind: type[Any]) -> TypedFormat:
    if _is_pydantic(kind):
        schema = kind.model_json_schema()
    elif (
        issubclass(kind, msgspec.Struct)
        or attrs.has(kind)
        or dataclasses.is_dataclass(kind)
        or is_typeddict(kind)
    ):
        schema = _msgspec_schema(kind)
    else:
        msg = (
            f"response_format cannot be {kind.__name__}: give a JSON schema, or a msgspec Struct, "
            "an attrs class, a dataclass, a TypedDict or a pydantic model"
        )
        raise RequestError(msg)
    found = TypedFormat(_boxed(kind.__name__, schema, strict=_close(schema)))
    found.kind = kind
    return found


def _is_pydantic(kind: Any) -> bool:
    return hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate_json")


def _msgspec_schema(kind: type[Any]) -> dict[str, Any]:
    try:
        schema = msgspec.json.schema(kind)
    except (TypeError, NameError) as error:
        reason = str(error).partition("\n")[0]
        msg = f"response_format: no JSON schema can be made of {kind.__name__}: {reason:.200}"
        raise RequestError(msg) from error
    name = schema.get("$ref", "").rpartition("/")[2]
    if name not in schema.get("$defs", {}):
        return schema
    # Providers want an object at the root, and not a reference to one.
    return {**schema["$defs"][name], "$defs": schema["$defs"]}


def _close(schema: Any) -> bool:
    """Forbid further fields in every object; whether providers can hold the answer to the schema
    word by word ("strict"), for which every field must be required."""
    strict = True
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            fields = schema.get("properties")
            strict = fields is not None and set(schema.get("required", ())) == set(fields)
            if fields is not None:
                schema.setdefault("additionalProperties", False)
        for below in list(schema.values()):
            strict &= _close(below)
    elif isinstance(schema, list):
        for below in schema:
            strict &= _close(below)
    return strict


def _boxed(name: str, schema: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "answer"
    inner: dict[str, Any] = {"name": name, "schema": dict(schema)}
    if strict:
        inner["strict"] = True
    return {"type": "json_schema", "json_schema": inner}


def parsed(asked: Mapping[str, Any] | None, text: str, refusal: str, finish: str) -> Any:
    """`text` as a value of the class that was asked for; without a class, as JSON has it.

    Raises:
        StructuredOutputError: it is none; with the text, and where it failed.
    """
    kind = getattr(asked, "kind", None)
    what = "JSON" if kind is None else kind.__name__
    if not text and refusal:
        raise _failed(what, text, "", f"the model refused: {refusal:.{_SHOWN}}")
    return _read(Any if kind is None else kind, what, text, finish)


def _read(kind: Any, what: str, text: str, finish: str) -> Any:
    try:
        if _is_pydantic(kind):
            return kind.model_validate_json(text)
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at ")
        raise _failed(what, text, where.strip("`") or "$", reason) from error
    except msgspec.DecodeError as error:
        cut = f", and the answer was cut short ({finish})" if finish == "length" else ""
        raise _failed(what, text, _place(error, text), f"{error}{cut}") from error
    except ValueError as error:  # pydantic's own is one
        raise _failed(what, text, *_pydantic_flaw(error)) from error


def parsed_arguments(kind: type[Any] | None, text: str, finish: str) -> Any:
    """The arguments of a tool call as a value of `kind`, or as a JSON object.

    Raises:
        StructuredOutputError, RequestError: as `parsed` and `as_response_format`.
    """
    if kind is None:
        return _read(dict[str, Any], "JSON object", text, finish)
    return parsed(as_response_format(kind), text, "", finish)


def _place(error: msgspec.DecodeError, text: str) -> str:
    found = re.search(r"\(byte (\d+)\)", str(error))
    return f"byte {found[1] if found else len(text.encode())}"


def _pydantic_flaw(error: Any) -> tuple[str, str]:
    """Where it failed first, and why."""
    if not hasattr(error, "errors"):
        return "", str(error)
    first = error.errors()[0]
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    return "$" + "".join(steps), first["msg"]


def _failed(what: str, text: str, where: str, why: str) -> StructuredOutputError:
    place = f" at {where}" if where else ""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    error = StructuredOutputError(f"the answer is no {what}{place}: {why:.200}; it is {shown!r}")
    error.text, error.where = text, where
    return error
