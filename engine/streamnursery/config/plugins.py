"""Dialects from other packages: entry points in the group `streamnursery.dialects`.

They are looked up only for a name that a configuration uses and that is not built in, because
importing a package runs its code.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from streamnursery.config.report import Report
from streamnursery.values.errors import ConfigError
from streamnursery.wire.dialect import Dialect
from streamnursery.wire.registry import Dialects

GROUP = "streamnursery.dialects"
_PREFIX, _SUFFIX = "STREAMNURSERY_ENDPOINTS_", "_DIALECT"


def installed(name: str) -> tuple[Dialect, str] | None:
    """The dialect that an installed package registers as `name`; a `Finder`.

    Raises:
        ConfigError: several packages do, or it cannot be imported or made.
    """
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        return None
    if len(found) > 1:
        packages = " and ".join(sorted(map(_package, found)))
        msg = f"the dialect {name!r} is registered by {packages}; uninstall all but one"
        raise ConfigError(msg)
    source = f"{found[0].value} of the package {_package(found[0])}"
    try:
        loaded = found[0].load()
        dialect: Dialect = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        msg = f"the dialect {name!r} cannot be loaded: {source}: {what:.200}"
        raise ConfigError(msg) from error
    return dialect, source


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown package"


def load_named(
    dialects: Dialects,
    documents: Iterable[object],
    environ: Mapping[str, str],
    report: Report,
) -> None:
    """Load the dialects that endpoints of `documents` or variables name, so that the schema knows
    their options. A name without an entry point is left to the schema's own message."""
    for name in dict.fromkeys([*_in_documents(documents), *_in_variables(environ)]):
        try:
            dialects.find(name)
        except ConfigError as error:
            for problem in error.problems:
                report.add("dialect", ("endpoints",), problem)


def _in_documents(documents: Iterable[object]) -> Iterator[str]:
    for document in documents:
        tables = document.get("endpoints") if isinstance(document, Mapping) else None
        for table in tables.values() if isinstance(tables, Mapping) else ():
            name = table.get("dialect") if isinstance(table, Mapping) else None
            if isinstance(name, str):
                yield name


def _in_variables(environ: Mapping[str, str]) -> Iterator[str]:
    for variable, text in environ.items():
        if variable.startswith(_PREFIX) and variable.endswith(_SUFFIX) and text.strip():
            yield text.strip()
