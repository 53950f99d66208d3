"""SIGHUP: read the configuration again and go by it, without ending what runs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamnursery.cli.console import complain, note
from streamnursery.cli.exits import CliError

if TYPE_CHECKING:
    from streamnursery.facade import Engine


async def reload_on_hangup(eng: "Engine", read: Callable[[], Mapping[str, Any]]) -> None:
    """Take over what `read` gives at every SIGHUP; mistakes are printed, and change nothing."""
    import signal

    import trio

    from streamnursery.cli.explain import config_mistakes
    from streamnursery.values.errors import ConfigError

    if not hasattr(signal, "SIGHUP"):  # a system without it
        return
    with trio.open_signal_receiver(signal.SIGHUP) as hangups:
        async for _ in hangups:
            try:
                report = eng.reload(read())
            except ConfigError as error:
                complain(config_mistakes(error))
            except CliError as error:
                complain(error)
            else:
                changed = ", ".join(report.changed) or "nothing"
                later = ", ".join(report.at_next_start)
                note(f"reloaded: {changed}" + (f"; at the next start: {later}" if later else ""))


def laid_over(base: Mapping[str, Any], path: str) -> dict[str, Any]:
    """`base` with the settings of a TOML file over it.

    Raises:
        CliError: the file cannot be read.
    """
    from streamnursery.config.sources import MAX_FILE, parse_toml

    try:
        with Path(path).open("rb") as file:
            given = parse_toml(file.read(MAX_FILE).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} cannot be read"
        raise CliError(msg, getattr(error, "strerror", None) or str(error)) from None
    return _merged(base, given)


def _merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in given.items():
        before = merged.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return merged
