"""What a table of a benchmark does not say, in sentences: errors, the SLO, what to doubt."""

from collections.abc import Iterator, Sequence
from typing import Any

from streamnursery.bench.plan import SIMULATOR
from streamnursery.bench.run_summary import ALL
from streamnursery.bench.thresholds import shown


def sentences(report: dict[str, Any]) -> list[str]:
    """What is to be known beside the figures; doubts come last."""
    lines = [*_calibrated(report["calibration"])]
    for target in report["targets"]:
        for level in target["levels"]:
            where = f"{target['name']} at {level['load']}"
            lines += _ended(where, level[ALL])
            lines += _unpriced(where, level[ALL])
        lines += _reuse(target)
        lines += _slo(target)
        if target["name"] == SIMULATOR and _costs(target):
            lines.append(f"{SIMULATOR}: nothing was paid; the cost is that of the real models")
        if target["highest_load"] is not None:
            lines.append(
                f"{target['name']}: the highest load that kept the SLO is {target['highest_load']}"
            )
    if report["interrupted"]:
        lines.append(
            "warning: it was interrupted: what had not ended is missing, or counts as cancelled"
        )
    return lines + [f"warning: {text}" for text in report["warnings"]]


def sequential(report: dict[str, Any]) -> list[str]:
    """The few figures of a small benchmark that asks one request after the other."""
    return [
        f"{target['name']} at {level['load']}: time to first token {_mean_and_ends(level[ALL])}, "
        f"{level[ALL]['numbers']['tokens_per_second']['value'] or 0:.1f} tokens/s, "
        f"{100 * (level[ALL]['numbers']['errors']['value'] or 0):.3g} % failed"
        for target in report["targets"]
        for level in target["levels"]
    ]


def _mean_and_ends(figures: dict[str, Any]) -> str:
    found = figures["times"]["ttft"]
    return ", ".join(f"{name} {shown(found[name])}" for name in ("mean", "min", "max"))


def _calibrated(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    return [
        f"The client itself: {found['cpu_us_per_token']:.1f} us CPU per token, "
        f"{shown(found['added_ttft_p50'])} to the first token of a server that takes no time."
    ]


def _ended(where: str, figures: dict[str, Any]) -> Iterator[str]:
    if figures["errors_by_category"]:
        kinds = ", ".join(f"{k} {n}" for k, n in sorted(figures["errors_by_category"].items()))
        yield f"{where}: {figures['failed']} failed: {kinds}"
    for category, words in sorted(figures["first_errors"].items()):
        if words:
            yield f"{where}: the first {category}: {words}"
    if figures["cancelled"]:
        yield f"{where}: {figures['cancelled']} cancelled by the client"


def _unpriced(where: str, figures: dict[str, Any]) -> Sequence[str]:
    """A cost that is not that of all requests says so."""
    priced, every = figures["requests_with_cost"], figures["requests"]
    if not priced or priced == every:
        return ()
    return [f"{where}: the cost is of {priced} of {every} requests: of the others it is not known"]


def _reuse(target: dict[str, Any]) -> Iterator[str]:
    """How often a connection was used again, over all levels; each has it in the JSON."""
    ones = [one for level in target["levels"] for one in level["repetitions"]]
    opened = [one["connections_opened"] for one in ones if one["connections_opened"]]
    rates = [one["requests_per_connection"] for one in ones if one["requests_per_connection"]]
    if opened and rates:
        ends = dict.fromkeys(f"{end(rates):.1f}" for end in (min, max))
        count = sum(opened)
        yield (
            f"{target['name']}: {count} connection{'s' * (count > 1)} opened, "
            f"{' to '.join(ends)} requests on each"
        )


def _costs(target: dict[str, Any]) -> bool:
    return any(level[ALL]["numbers"]["cost"]["value"] is not None for level in target["levels"])


def _slo(target: dict[str, Any]) -> Iterator[str]:
    """A line for each threshold: where it was kept, and what it was where it was not."""
    levels = target["levels"]
    for place, threshold in enumerate(found["threshold"] for found in levels[0]["slo"]):
        kept, broken = list[str](), list[str]()
        for level in levels:
            found = level["slo"][place]
            said = f"{level['load']} ({found['said'] or 'not measured'})"
            (kept if found["kept"] else broken).append(said)
        if not broken and len(kept) > 1:
            kept = ["every load"]
        verdicts = [("kept", kept), ("NOT kept", broken)]
        text = "; ".join(f"{verdict} at {', '.join(at)}" for verdict, at in verdicts if at)
        yield f"{target['name']}: {threshold} {text}"
