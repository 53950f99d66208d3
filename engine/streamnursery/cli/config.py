"""`streamnursery config`: show what holds, check it, begin a file."""

import argparse
from typing import TYPE_CHECKING, Any

from streamnursery.cli.console import data, note
from streamnursery.cli.exits import CliError, Exit
from streamnursery.cli.parser import PROGRAM, Parser, Verbs, add_config, add_verb

if TYPE_CHECKING:
    from streamnursery.config import LoadedConfig

_EXAMPLE = """\
streamnursery config show --origin         every setting, and where it comes from
streamnursery config check                 every mistake at once; exit code 2 if there is one
streamnursery config init                  write streamnursery.toml, all of it switched off
"""
_FILE = "streamnursery.toml"


def add(verbs: Verbs) -> None:
    """Declare the verb and what it does."""
    parser = add_verb(
        verbs,
        "config",
        run,
        example=_EXAMPLE,
        summary="show, check or begin the configuration",
        then=f"{PROGRAM} doctor",
    )
    inner = parser.add_subparsers(metavar="show | check | init", parser_class=Parser)
    show = _add(inner, "show", _show, "print every setting in effect, as TOML", "check")
    show.add_argument("--origin", action="store_true", help="and where each one comes from")
    show.add_argument("--json", action="store_true", help="print one object")
    add_config(show)
    check = _add(inner, "check", _check, "report all mistakes", "show --origin")
    check.add_argument("--json", action="store_true", help="print one object")
    add_config(check)
    init = _add(inner, "init", _init, "write a file with every key and its default", "check")
    init.add_argument("path", metavar="FILE", nargs="?", default=_FILE, help=f"{_FILE}; - prints")


def _add(inner: Verbs, name: str, run: Any, summary: str, then: str) -> Parser:
    example = f"{PROGRAM} config {name}" + (" --origin" if name == "show" else "")
    then = f"{PROGRAM} config {then}"
    return add_verb(inner, name, run, example=example, summary=summary, then=then)


def run(_: argparse.Namespace) -> int:
    """Without a word after `config`."""
    why = "it is one of show, check and init"
    raise CliError("config needs to know what to do", why, f"{PROGRAM} config show --origin")


def _show(args: argparse.Namespace) -> int:
    from streamnursery.cli.explain import load

    loaded = load(args)
    if args.json:
        _print_json({
            "file": str(loaded.file) if loaded.file else None,
            "settings": [
                {"key": s.key, "value": s.value, "origin": s.origin} for s in loaded.settings
            ],
        })
        return Exit.OK
    if args.origin:
        from streamnursery.cli.tables import aligned

        data(aligned([(f"{s.key} = {s.value}", f"# {s.origin}") for s in loaded.settings]))
    else:
        data("\n".join(f"{s.key} = {s.value}" for s in loaded.settings))
    note(_source(loaded))
    return Exit.OK


def _source(loaded: "LoadedConfig") -> str:
    if loaded.file is not None:
        return f"file: {loaded.file}"
    return f"no configuration file was found; next: {PROGRAM} config init"


def _check(args: argparse.Namespace) -> int:
    from streamnursery.config import load_config
    from streamnursery.values.errors import ConfigError

    try:
        loaded = load_config(args.config)
    except ConfigError as error:
        if args.json:
            _print_json({"ok": False, "file": None, "problems": list(error.problems)})
            return Exit.USAGE
        from streamnursery.cli.explain import config_mistakes

        raise config_mistakes(error) from None
    file = str(loaded.file) if loaded.file else None
    if args.json:
        _print_json({"ok": True, "file": file, "problems": []})
        return Exit.OK
    config = loaded.config
    counts = f"{_count(config.endpoints, 'endpoint')}, {_count(config.models, 'model')}"
    data(f"ok: {file or 'no configuration file, the environment alone'}: {counts}")
    for endpoint in config.endpoints.values():
        if endpoint.missing_key:
            routed = ", ".join(config.routed_to(endpoint.name))
            over = f"; it is passed over for {routed}" if routed else ""
            note(f"endpoints.{endpoint.name} cannot be used yet: {endpoint.missing_key}{over}")
    for name in config.unusable_models():
        note(f"models.{name} cannot be asked yet: no route of it has a key")
    note(f"next: {PROGRAM} doctor" if file else f"next: {PROGRAM} config init")
    return Exit.OK


def _count(things: Any, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _init(args: argparse.Namespace) -> int:
    from streamnursery.config import TEMPLATE

    if args.path == "-":
        data(TEMPLATE)
        return Exit.OK
    try:
        with open(args.path, "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        step = f"{PROGRAM} config init - prints the template"
        msg = f"{args.path} exists already"
        raise CliError(msg, "it is left as it is", step) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        msg = f"{args.path} cannot be written"
        raise CliError(msg, why, "check the path") from None
    data(args.path)
    note(f"next: take the # away where you want a change, then {PROGRAM} config check")
    return Exit.OK


def _print_json(value: object) -> None:
    import json

    data(json.dumps(value, ensure_ascii=False))
