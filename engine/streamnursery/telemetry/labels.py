"""Values of labels: names that callers make up are bounded, since each is a time series."""

from typing import Final

MOST_NAMES: Final = 200
"""Different values of one label; those beyond are `OTHER`."""
OTHER: Final = "other"


class LabelNames:
    """Lets the first `MOST_NAMES` through."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """`name`, or `OTHER`."""
        if name not in self._known:
            if len(self._known) >= MOST_NAMES:
                return OTHER
            self._known.add(name)
        return name
