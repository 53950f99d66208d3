"""Writes docs/reference from the signatures and docstrings of the public names, and the tables of
docs/errors.md from the error policies.

    python -m tests.reference            writes the pages (`make reference`)

`tests/test_reference.py` asserts that the pages are what this makes.
"""

import ast
import importlib
import inspect
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from streamnursery.core.recovery.error_policy import ErrorPolicy, RetryScope
from streamnursery.core.recovery.error_table import SECTIONS
from streamnursery.values.errors import EngineError

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
ERRORS = FOLDER.parent / "errors.md"
_HEAD = """\
| error | category | retried | exit | means | do |
|---|---|---|---|---|---|
"""
MODULES = ("errors", "events", "records", "settings", "plugins", "testing", "simulator", "bench")


def pages() -> dict[str, str]:
    """The text of each page by its file name."""
    names = ["streamnursery", *(f"streamnursery.{module}" for module in MODULES)]
    found = {f"{name}.md": _page(importlib.import_module(name)) for name in names}
    index = "# Reference\n\nEvery public name, generated from the code by `make reference`.\n\n"
    rows = (
        f"- [`{name}`]({name}.md): {_first(importlib.import_module(name).__doc__)}\n"
        for name in names
    )
    return {"README.md": index + "".join(rows), **found}


def _page(module: ModuleType) -> str:
    parts = [f"# `{module.__name__}`\n\n{inspect.cleandoc(module.__doc__ or '')}\n"]
    top = importlib.import_module("streamnursery")
    for name in module.__all__:
        if module is not top and name in top.__all__:
            also = f"Also at the top: [`streamnursery.{name}`](streamnursery.md)."
            parts.append(f"\n## `{name}`\n\n{also}\n")
        else:
            parts.append(f"\n## `{name}`\n\n{_entry(name, getattr(module, name))}")
    return "".join(parts)


def _entry(name: str, value: object) -> str:
    if inspect.isclass(value):
        return _class(name, value)
    if callable(value):
        return f"{_code(_signature(name, value))}{_doc(value)}"
    text = repr(value) if isinstance(value, int | float) else type(value).__name__
    if isinstance(value, str):
        text = json.dumps(value)  # in the quotes of ruff, which formats code in Markdown too
    return _code(f"{name}: {text}" if len(text) < 60 else name)


def _class(name: str, kind: type) -> str:
    bases = [b.__name__ for b in kind.__bases__ if b is not object]
    head = f"class {name}({', '.join(bases)})" if bases else f"class {name}"
    parts = [_code(head), _doc(kind)]
    rows = list(_fields(kind))
    if rows:
        parts.append("\n| field | type | default | |\n| --- | --- | --- | --- |\n")
        parts += [f"| `{n}` | `{t}` | {d} | {doc} |\n" for n, t, d, doc in rows]
    parts += list(_methods(kind))
    return "".join(parts)


def _fields(kind: type) -> Iterator[tuple[str, str, str, str]]:
    """Annotated attributes of the class's own body, with the docstring that follows each."""
    node = _node(kind)
    body = node.body if node is not None else []
    for place, statement in enumerate(body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        if name.startswith("_") or _is_hidden(statement.value):
            continue
        following = body[place + 1] if place + 1 < len(body) else None
        doc = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            doc = " ".join(inspect.cleandoc(str(following.value.value)).split())
        kind_of = ast.unparse(statement.annotation).strip("'").replace("|", "\\|")
        yield name, kind_of, _default(statement.value), doc.replace("|", "\\|")


def _is_hidden(value: ast.expr | None) -> bool:
    """An attrs field that is no parameter."""
    return isinstance(value, ast.Call) and any(
        k.arg == "init" and isinstance(k.value, ast.Constant) and k.value.value is False
        for k in value.keywords
    )


def _default(value: ast.expr | None) -> str:
    if value is None:
        return ""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "attrs.field":
        given = {k.arg: k.value for k in value.keywords}
        if "factory" in given:
            return f"`{ast.unparse(given['factory'])}()`"
        return f"`{ast.unparse(given['default'])}`" if "default" in given else ""
    return "`" + ast.unparse(value).replace("|", "\\|") + "`"


def _methods(kind: type) -> Iterator[str]:
    for name, value in vars(kind).items():
        if name.startswith("_"):
            continue
        if isinstance(value, property):
            yield f"\n### `{name}`\n\nProperty.{_doc(value, apart=True)}"
        elif isinstance(value, classmethod | staticmethod) or inspect.isfunction(value):
            function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            yield f"\n### `{name}`\n\n{_code(_signature(name, function))}{_doc(function)}"


def _signature(name: str, value: object) -> str:
    assert callable(value)
    prefix = "async def" if inspect.iscoroutinefunction(value) else "def"
    try:
        signature = str(inspect.signature(value))
    except (TypeError, ValueError):
        return name
    text = f"{prefix} {name}{signature.replace('streamnursery.', '')}"
    if len(text) <= 96:
        return text
    parameters = inspect.signature(value).parameters.values()
    lines: list[str] = []
    starred = False
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            starred = True
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            lines.append("    *,")
            starred = True
        lines.append(f"    {parameter},".replace("streamnursery.", ""))
    returned = signature.rpartition(" -> ")[2] if " -> " in signature else ""
    end = f") -> {returned}" if returned else ")"
    return "\n".join([f"{prefix} {name}(", *lines, end.replace("streamnursery.", "")])


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text())


def _node(kind: type) -> ast.ClassDef | None:
    try:
        tree = _tree(inspect.getfile(kind))
    except (TypeError, OSError):
        return None
    found = (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == kind.__name__)
    return next(found, None)


def _doc(value: object, *, apart: bool = False) -> str:
    text = inspect.cleandoc(getattr(value, "__doc__", None) or "")
    if text.startswith(("Method generated by", "Initialize self")):
        text = ""
    before = "\n\n" if apart and text else ""
    return f"{before}{text}\n" if text or apart else ""


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n\n"


def _first(text: str | None) -> str:
    return inspect.cleandoc(text or "").split("\n\n")[0].replace("\n", " ")


def errors_page() -> str:
    """docs/errors.md with its tables made from `core/recovery/error_table.py`."""
    text = ERRORS.read_text()
    for title, rows in SECTIONS:
        head, found, rest = text.partition(f"## {title}\n")
        before, bar, table = rest.partition("| error |")
        assert found and bar, title
        end = table.partition("\n\n")[2]
        made = "".join(f"{_row(kind, policy)}\n" for kind, policy in rows.items())
        text = f"{head}{found}{before}{_HEAD}{made}" + (f"\n{end}" if end else "")
    return text


def _row(kind: type[EngineError], policy: ErrorPolicy) -> str:
    retried = policy.retried or _retried(policy.scope, here=kind.retryable_by_default)
    cells = (
        f"`{kind.__name__}`",
        kind.category,
        retried,
        str(policy.exit_code),
        policy.means,
        policy.advice,
    )
    return f"| {' | '.join(cells)} |"


def _retried(scope: RetryScope, *, here: bool) -> str:
    match scope:
        case RetryScope.NOWHERE:
            return "no"
        case RetryScope.OTHER_KEY:
            return "with another key"
        case RetryScope.HERE_FIRST:
            return "here, elsewhere" if here else "elsewhere"
        case _:
            return "elsewhere, here" if here else "elsewhere"


def main() -> None:
    """Write the pages, and take away those that are no longer made."""
    ERRORS.write_text(errors_page())
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
