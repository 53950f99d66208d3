"""Metric families and their lines (the text format of Prometheus, version 0.0.4)."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

PREFIX: Final = "streamnursery_"


class MetricSample(NamedTuple):
    labels: str
    """As `labelled` writes them; may be empty."""
    value: float
    suffix: str = ""


class MetricFamily(NamedTuple):
    """One metric with all its samples: they must stand together."""

    name: str
    """Without the prefix."""
    kind: str
    """counter, gauge or histogram."""
    help: str
    samples: Iterable[MetricSample]

    def lines(self) -> Iterator[str]:
        """Each with its newline."""
        name = PREFIX + self.name
        yield f"# HELP {name} {self.help}\n# TYPE {name} {self.kind}\n"
        for labels, value, suffix in self.samples:
            yield f"{name}{suffix}{{{labels}}} {value}\n" if labels else f"{name}{suffix} {value}\n"


def labelled(**labels: str) -> str:
    """Label pairs without their braces."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    # Surrogates cannot be sent; a caller's name for a model may hold one.
    clean = value.encode(errors="replace").decode()
    return clean.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
