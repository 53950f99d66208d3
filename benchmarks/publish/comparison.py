"""The comparison with other clients: what each costs, and what was asked for beside what is."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs

from benchmarks.compare.report import ONE_EACH, furthest
from benchmarks.publish.figures import GAP, Figures, cell, divided, table

ENGINE, NODE, RECEIVE = "engine", "Node, plain", "trio, receive only"
NAMES = {
    ENGINE: "this engine",
    "engine, rests 5 ms": "this engine, resting 5 ms",
    "AsyncOpenAI": "AsyncOpenAI",
    "litellm": "litellm",
    "aiohttp + orjson": "aiohttp + orjson",
    "aiohttp + uvloop": "aiohttp + orjson on uvloop",
    "pyreqwest": "pyreqwest + orjson on uvloop",
    "httpx on trio": "httpx on trio",
    NODE: NODE,
    "Go": "Go",
    "Bun": "Bun",
    RECEIVE: RECEIVE,
    "C receiver": "C receiver",
}
COLUMNS = (
    ("burst-10", "cpu_us", "10 streams, answers ready"),
    ("burst-100", "cpu_us", "100, ready"),
    ("paced-100x50", "cpu_us", "100 x 50 tokens/s"),
    ("paced-1000x25", "cpu_us", "1,000 x 25"),
    ("tls-paced-100x50", "cpu_us", "100 x 50, TLS"),
    ("start", "cpu_us", "start of a stream"),
    ("hold-1000", "kib_per_stream", "held stream, KiB"),
    ("hold-1000", "cancel_ms", "cancel of 1,000, ms"),
)


def summary(found: Figures) -> str:
    """A row for each client."""
    head = ["CPU, us", *(title for _, _, title in COLUMNS)]
    rows = [
        [shown, *(_figure(found, row, client, key) for row, key, _ in COLUMNS)]
        for client, shown in NAMES.items()
    ]
    return f"{found.origin()}{_noise(found)}\n{table(head, rows)}"


def _noise(found: Figures) -> str:
    apart = furthest(found.results)
    if apart is None:
        return ""
    return (
        f"Identical clients differed by up to {100 * apart:.0f} %: less than that says nothing.\n"
    )


def _figure(found: Figures, row: str, client: str, key: str) -> str:
    value = found.of(row, client, key)
    shown = cell(value, "{:.3g}" if value is not None and value < 1000 else "{:,.0f}")
    return shown + "*" * (value is not None and _behind(found, row, client))


def _behind(found: Figures, row: str, client: str) -> bool:
    """It found several tokens in a read that had come one at a time."""
    return "paced" in row and (found.of(row, client, "events_per_read") or 0) > ONE_EACH


Measure: TypeAlias = Callable[[Figures], float | None]


@attrs.frozen
class Goal:
    """What was asked of the engine: a figure of at most `most`."""

    says: str
    most: float
    measure: Measure
    unit: str = "x"

    def row(self, found: Figures) -> list[str]:
        value = self.measure(found)
        if value is None:
            return [self.says, self._shown(self.most), GAP, GAP]
        met = "yes" if value <= self.most else f"{value / self.most:.2f} times that"
        return [self.says, self._shown(self.most), self._shown(value), met]

    def _shown(self, value: float) -> str:
        return f"{value:.3g} {self.unit}"


def ratio(row: str, to: str, client: str = ENGINE, key: str = "cpu_us") -> Measure:
    """Of two clients in a row; a paced row only where tokens were read one at a time."""

    def measure(found: Figures) -> float | None:
        if _behind(found, row, client) or _behind(found, row, to):
            return None
        return found.ratio(row, key, client, to)

    return measure


def figure(row: str, key: str, scale: float = 1.0) -> Measure:
    def measure(found: Figures) -> float | None:
        value = found.of(row, ENGINE, key)
        return None if value is None else value * scale

    return measure


def across(row: str, to: str) -> Measure:
    """The engine in one row as a multiple of itself in another."""

    def measure(found: Figures) -> float | None:
        return divided(found.of(row, ENGINE, "cpu_us"), found.of(to, ENGINE, "cpu_us"))

    return measure


OPENAI, LITELLM, AIOHTTP = "AsyncOpenAI", "litellm", "aiohttp + orjson"
GOALS = (
    Goal("Ready answers, 100 streams, of AsyncOpenAI", 1 / 40, ratio("burst-100", OPENAI)),
    Goal("Ready answers, 10 streams, of litellm", 1 / 150, ratio("burst-10", LITELLM)),
    Goal("Ready answers, 100 streams, of aiohttp + orjson", 1, ratio("burst-100", AIOHTTP)),
    Goal("Ready answers, 100 streams, of plain Node", 1, ratio("burst-100", NODE)),
    Goal("1,000 x 25/s, of a bare receive loop", 1.35, ratio("paced-1000x25", RECEIVE)),
    Goal("100 x 50/s, of a bare receive loop", 1.35, ratio("paced-100x50", RECEIVE)),
    Goal("1,000 x 25/s, of plain Node", 1.25, ratio("paced-1000x25", NODE)),
    Goal("100 x 50/s, of plain Node", 1.25, ratio("paced-100x50", NODE)),
    Goal("100 x 50/s, of AsyncOpenAI", 1 / 3, ratio("paced-100x50", OPENAI)),
    Goal(
        "100 x 50/s resting 5 ms, of plain Node",
        0.8,
        ratio("paced-100x50", NODE, "engine, rests 5 ms"),
    ),
    Goal("100 x 50/s over TLS, of plain Node", 1.25, ratio("tls-paced-100x50", NODE)),
    Goal(
        "Ready answers over TLS, of the same without (the cipher included)",
        1.15,
        across("tls-burst-100", "burst-100"),
    ),
    Goal("Start of a stream", 0.4, figure("start", "cpu_us", 1e-3), "ms"),
    Goal("Start, of plain Node (or the line above)", 1, ratio("start", NODE)),
    Goal("Start, of AsyncOpenAI", 1 / 5, ratio("start", OPENAI)),
    Goal("Start, of litellm", 1 / 15, ratio("start", LITELLM)),
    Goal("Memory of a held stream", 20, figure("hold-1000", "kib_per_stream"), "KiB"),
    Goal("Cancel of 1,000 streams", 150, figure("hold-1000", "cancel_ms"), "ms"),
    Goal("A token of 1,000 streams, of one of 100", 1.15, across("burst-1000", "burst-100")),
    Goal(
        "Added latency at 100 x 50/s, p50, of a bare receive loop",
        1.5,
        ratio("paced-100x50", RECEIVE, key="latency_p50_us"),
    ),
)


def goals(found: Figures) -> str:
    """Asked for and measured; x is a multiple."""
    head = ["CPU, unless it says otherwise", "at most", "measured", "met"]
    return table(head, [goal.row(found) for goal in GOALS]) + "".join(_latency(found))


def _latency(found: Figures) -> Iterator[str]:
    p50, p99 = (found.of("paced-100x50", ENGINE, f"latency_p{q}_us") for q in (50, 99))
    if p50 is not None and p99 is not None:
        yield (
            f"\nFrom the server's write of a token to the consumer's loop, 100 x 50/s: "
            f"p50 {p50:.0f} us, p99 {p99:,.0f} us.\n"
        )
