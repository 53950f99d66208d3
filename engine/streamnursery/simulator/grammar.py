"""Text forms of scripts and plans.

    script   [fault, ...] or one fault
    fault    "crlf"                                    without fields, or all of them by default
             {"stall": {"at": 2, "seconds": 30}}       fields by name
             {"stall": [2, 30]}   {"cut": 3}           fields in their order
             {"cut": 3, "crlf": true}                  several; false leaves one out
    plan     {"rules": [{"when": {"requests": [1, 2], "model": "gpt-*"}, "script": ...}, ...]}
             or a script, which every request meets
    model    sim/fast?cut=3&crlf=1&stall=2,30&status=429&status.retry_after=2

Rule 1: every mistake is reported, with its path and a suggestion where one is near.
Rule 2: what `dump_*` writes, `parse_*` reads as an equal value.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

import attrs
import msgspec

from streamnursery.simulator.fault import Fault, NetworkFault
from streamnursery.simulator.field_checks import as_tuple
from streamnursery.simulator.plan import Plan, Rule, When
from streamnursery.simulator.script import FAULTS, Script

V = TypeVar("V")
_WORDS = {"true": True, "false": False, "null": None, "none": None, "": True}


class ScriptError(ValueError):
    """A script or plan that cannot be read; `problems` holds every mistake in it."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


def parse_script(text: str | bytes) -> Script:
    """Read a script from JSON, as the header `x-sim-script` holds it.

    Raises:
        ScriptError: also for network faults, which a request cannot ask for.
    """
    reader = ScriptReader()
    script = reader.script(reader.json(text), "script")
    reader.refuse_network_faults(script, "script")
    return reader.result(script)


def parse_plan(text: str | bytes) -> Plan:
    """Read a plan, or a script for every request, from JSON.

    Raises:
        ScriptError: it cannot be read.
    """
    reader = ScriptReader()
    value = reader.json(text)
    if isinstance(value, dict) and "rules" in value:
        return reader.result(reader.plan(value))
    return reader.result(Plan((Rule(reader.script(value, "script")),)))


def split_model(model: str) -> tuple[str, Script]:
    """The plain name in `[sim/]name[?faults]`, and the faults.

    Raises:
        ScriptError: the part after the question mark cannot be read.
    """
    name, _, query = model.partition("?")
    reader = ScriptReader()
    script = reader.query(query)
    reader.refuse_network_faults(script, "model")
    return name.removeprefix("sim/"), reader.result(script)


def dump_script(script: Script) -> str:
    """As JSON on one line; also fit for `x-sim-script`."""
    return _ascii([_plain(fault) for fault in script])


def dump_plan(plan: Plan) -> str:
    """As JSON on one line."""
    rules = []
    for rule in plan.rules:
        when = _changed(rule.when)
        script = [_plain(fault) for fault in rule.script]
        rules.append({"when": when, "script": script} if when else {"script": script})
    return _ascii({"rules": rules})


def _ascii(value: object) -> str:
    # msgspec writes UTF-8; a header takes ASCII.
    text = msgspec.json.encode(value).decode()
    return "".join(char if char < "\x7f" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _plain(fault: Fault) -> object:
    fields = _changed(fault)
    return {fault.name: fields} if fields else fault.name


def _fields(kind: type[Any]) -> dict[str, "attrs.Attribute[Any]"]:
    return {field.name: field for field in attrs.fields(kind)}


def _changed(value: Any) -> dict[str, Any]:
    """The fields of an attrs value that differ from their defaults."""
    found = {}
    for name, field in _fields(type(value)).items():
        content = getattr(value, name)
        if field.default is attrs.NOTHING or content != field.default:
            found[name] = dict(content) if name == "headers" else content
    return found


def _near(name: str, names: Iterable[str]) -> str:
    names = list(names)
    close = get_close_matches(name, names, 1)
    return f'did you mean "{close[0]}"?' if close else f"it is one of {', '.join(names)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class ScriptReader:
    """Collects mistakes while it builds what can be built."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def result(self, value: V) -> V:
        if self.problems:
            raise ScriptError(self.problems)
        return value

    def fail(self, problem: str) -> NoReturn:
        raise ScriptError([*self.problems, problem])

    def json(self, text: str | bytes) -> Any:
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            self.fail(f"this is not JSON: {error}")

    def plan(self, value: dict[str, Any]) -> Plan:
        for name in value.keys() - {"rules"}:
            self.problems.append(f"{name}: a plan has only rules")
        rules = value["rules"]
        if not isinstance(rules, list):
            self.fail("rules: must be a list")
        return Plan(tuple(self.rule(item, f"rules[{i}]") for i, item in enumerate(rules)))

    def rule(self, value: Any, path: str) -> Rule:
        if not isinstance(value, dict) or "script" not in value:
            self.problems.append(f"{path}: must be an object with a script")
            return Rule(())
        for name in value.keys() - {"script", "when"}:
            self.problems.append(f"{path}.{name}: {_near(name, ('script', 'when'))}")
        when = value.get("when", {})
        if not isinstance(when, dict):
            self.problems.append(f"{path}.when: must be an object")
            when = {}
        script = self.script(value["script"], f"{path}.script")
        return Rule(script, self.build(When, when, f"{path}.when") or When())

    def script(self, value: Any, path: str) -> Script:
        if isinstance(value, str | dict):
            return self.faults(value, path)
        if not isinstance(value, list):
            self.problems.append(f"{path}: must be a list of faults or one of them")
            return ()
        found: list[Fault] = []
        for i, item in enumerate(value):
            found += self.faults(item, f"{path}[{i}]")
        return tuple(found)

    def faults(self, value: Any, path: str) -> Script:
        if isinstance(value, str):
            value = {value: True}
        if not isinstance(value, dict):
            problem = f'{path}: a fault is a name or an object like {{"cut": 3}}'
            self.problems.append(f"{problem}, not {_shown(value)}")
            return ()
        found = (self.fault(name, args, path) for name, args in value.items() if args is not False)
        return tuple(fault for fault in found if fault is not None)

    def fault(self, name: str, args: Any, path: str) -> Fault | None:
        path = f"{path}.{name}"
        kind = FAULTS.get(name)
        if kind is None:
            self.problems.append(f"{path}: no such fault; {_near(name, FAULTS)}")
            return None
        if not isinstance(args, dict):
            args = self.by_name(kind, args, path)
        return self.build(kind, args, path)

    def by_name(self, kind: type[Fault], args: Any, path: str) -> dict[str, Any]:
        """Fields given in their order, by their names."""
        fields = _fields(kind)
        if args is True or (args is None and not fields):
            return {}
        if not isinstance(args, list) or _takes_all(fields):
            args = [args]
        if len(args) > len(fields):
            most = f"at most {len(fields)} values" if fields else "true, as it has no fields"
            self.problems.append(f"{path}: takes {most}, not {_shown(args)}")
        return dict(zip(fields, args, strict=False))

    def build(self, kind: type[V], args: Mapping[str, Any], path: str) -> V | None:
        """An attrs value of `kind`, or None and at least one more problem."""
        fields = _fields(kind)
        before = len(self.problems)
        for name, value in args.items():
            if name not in fields:
                near = _near(name, fields) if fields else "it has none"
                self.problems.append(f"{path}.{name}: no such field; {near}")
            else:
                self.check(fields[name], value, f"{path}.{name}")
        for name, field in fields.items():
            if field.default is attrs.NOTHING and name not in args:
                self.problems.append(f"{path}.{name}: is missing")
        if len(self.problems) > before:
            return None
        try:
            return kind(**args)
        except ValueError as error:
            self.problems.append(f"{path}: {error}")
            return None

    def check(self, field: "attrs.Attribute[Any]", value: Any, path: str) -> None:
        wrong = _wrong(field, value)
        if wrong:
            self.problems.append(f"{path}: must be {wrong}, not {_shown(value)}")

    def refuse_network_faults(self, script: Script, path: str) -> None:
        for fault in script:
            if isinstance(fault, NetworkFault) and fault.name != "close_idle":
                why = "comes before the request; put it into a plan"
                self.problems.append(f"{path}: {fault.name} {why}")

    # The query form. ------------------------------------------------------------------------

    def query(self, query: str) -> Script:
        calls: list[tuple[str, dict[str, Any]]] = []
        latest: dict[str, dict[str, Any]] = {}
        for key, text in parse_qsl(query, keep_blank_values=True):
            name, _, field = key.partition(".")
            kind = FAULTS.get(name)
            if kind is None:
                self.problems.append(f"model?{name}: no such fault; {_near(name, FAULTS)}")
                continue
            args = {field: text} if field else self.in_order(kind, text)
            if args is None:
                continue
            if name in latest and not latest[name].keys() & args.keys():
                latest[name].update(args)
            else:
                latest[name] = args
                calls.append((name, args))
        found = (self.from_text(FAULTS[name], args, name) for name, args in calls)
        return tuple(fault for fault in found if fault is not None)

    def in_order(self, kind: type[Fault], text: str) -> dict[str, Any] | None:
        fields = _fields(kind)
        if not fields:
            off = text in ("0", "false")
            if not off and text not in ("", "1", "true"):
                self.problems.append(f"model?{kind.name}: is 1 or 0, not {_shown(text)}")
            return None if off else {}
        if not text:
            return {}
        if len(fields) == 1 or _takes_all(fields):
            return {next(iter(fields)): text}
        return dict(zip(fields, text.split(","), strict=False))

    def from_text(self, kind: type[Fault], args: dict[str, str], name: str) -> Fault | None:
        fields = _fields(kind)
        read = {key: _read(fields[key], arg) if key in fields else arg for key, arg in args.items()}
        return self.build(kind, read, f"model?{name}")


def _takes_all(fields: Mapping[str, "attrs.Attribute[Any]"]) -> bool:
    """Whether the first field takes all values that are given in order."""
    return any(field.metadata.get("many", False) for field in list(fields.values())[:1])


def _wrong(field: "attrs.Attribute[Any]", value: Any) -> str | None:
    kind = field.metadata.get("kind")
    if kind is None:
        return None
    wrong: str | None = kind(as_tuple(value) if field.metadata["many"] else value)
    return wrong


def _read(field: "attrs.Attribute[Any]", text: str) -> Any:
    """`text` as whatever the field takes, or as what it most looks like."""
    values = [_scalar(part) for part in text.split(",")]
    value = values if field.metadata.get("many") else _scalar(text)
    return text if _wrong(field, value) and not _wrong(field, text) else value


def _scalar(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
