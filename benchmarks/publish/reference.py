"""The figures quoted for a Node implementation of this design, beside what was measured."""

from collections.abc import Callable

from benchmarks.publish.figures import GAP, Figures, cell, table

HEAD = ["", "quoted", "plain Node client", "this engine"]
CLIENTS = ("Node, plain", "engine")


def reference(found: Figures) -> str:
    """Every figure, and beside it what the client has to do with it."""
    rows = [
        ["10 streams, DeepSeek-like pace, tokens/s", "850", *_each(found, _throughput)],
        ["Gemini-like pace, time to first token, p5 - p95, ms", "45 - 180", *_each(found, _first)],
        ["of it added by the client, p50, ms", GAP, *_each(found, _added)],
        ["what a new connection with TLS adds, ms", "12", *_each(found, _handshake)],
        [
            "the same without TLS, ms",
            GAP,
            *_each(found, lambda f, c: cell(f.of("handshake", c, "plain_overhead_ms"), "{:.1f}")),
        ],
        ["from the server's write to the consumer, p50 / p99, ms", "< 50", *_each(found, _latency)],
        [
            "an active stream, KB of RSS",
            "2.3 (28.8 measured)",
            *_each(found, lambda f, c: cell(_kilobytes(f, c))),
        ],
        ["10 streams without a pace, tokens/s a core can take", GAP, *_each(found, _headroom)],
    ]
    return f"{found.origin()}\n{table(HEAD, rows)}"


def _each(found: Figures, shown: Callable[[Figures, str], str]) -> list[str]:
    return [shown(found, client) for client in CLIENTS]


def _throughput(found: Figures, client: str) -> str:
    return cell(found.of("throughput", client, "tokens_per_second"), "{:.0f}")


def _first(found: Figures, client: str) -> str:
    low, high = (found.of("first token", client, f"p{q}_ms") for q in (5, 95))
    return GAP if low is None or high is None else f"{low:.0f} - {high:.0f}"


def _added(found: Figures, client: str) -> str:
    return cell(found.of("first token", client, "added_p50_ms"), "{:.1f}")


def _handshake(found: Figures, client: str) -> str:
    return cell(found.of("handshake", client, "tls_overhead_ms"), "{:.1f}")


def _latency(found: Figures, client: str) -> str:
    p50, p99 = (found.of("latency", client, f"latency_p{q}_us") for q in (50, 99))
    return GAP if p50 is None or p99 is None else f"{p50 / 1000:.2f} / {p99 / 1000:.2f}"


def _p99(found: Figures, client: str) -> str:
    p99 = found.of("latency", client, "latency_p99_us")
    return cell(None if p99 is None else p99 / 1000, "{:.2f}")


def _kilobytes(found: Figures, client: str) -> float | None:
    kib = found.of("memory", client, "kib_per_stream")
    return None if kib is None else kib * 1.024


def _headroom(found: Figures, client: str) -> str:
    us = found.of("headroom", client, "cpu_us")
    return cell(None if us is None else 1e6 / us, "{:,.0f}")
