"""Arguments of a call that come in pieces, each for one place: `$.recipe.steps[0].text`.

Rule 1: a text may come in several pieces for one place, which are put together.
Rule 2: bounded: as deep as `MAX_DEPTH`, and no item of a list before the one in front of it.
"""

import re
from typing import Any

MAX_DEPTH = 64
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,6})\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")


def set_at(root: dict[str, Any], path: str, value: object) -> None:
    """Put `value` at `path`; text is put behind the text that is there.

    Raises:
        ValueError: `path` is none, or leads through a place that holds something else.
    """
    steps = _steps(path)
    holder: Any = root
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        known = _get(holder, step)
        if after is None:
            both = isinstance(known, str) and isinstance(value, str)
            _put(holder, step, known + value if both else value)
        elif known is None:
            known = [] if isinstance(after, int) else {}
            _put(holder, step, known)
        holder = known


def _steps(path: str) -> list[str | int]:
    at, steps = 1, list[str | int]()
    while path[:1] == "$" and at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            break
        name, index, single, double = found.groups()
        steps.append(int(index) if index is not None else name or single or double or "")
        at = found.end()
    if not steps or at != len(path) or len(steps) > MAX_DEPTH:
        msg = "no place among the arguments of a call"
        raise ValueError(msg)
    return steps


def _get(holder: object, step: str | int) -> Any:
    if isinstance(holder, dict) and isinstance(step, str):
        return holder.get(step)
    if isinstance(holder, list) and isinstance(step, int) and step <= len(holder):
        return holder[step] if step < len(holder) else None
    msg = "a place among the arguments of a call that another one excludes"
    raise ValueError(msg)


def _put(holder: Any, step: str | int, value: object) -> None:
    if isinstance(step, int) and step == len(holder):
        holder.append(value)
    else:
        holder[step] = value
