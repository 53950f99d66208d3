"""The dashboard, the alert rules and the document name metrics that the engine emits."""

import json
import re
from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from streamnursery import telemetry
from tests.support.scene import AT_ONCE, ask, scene, virtual

DOCS = Path(__file__).parents[2] / "docs"
METRIC = re.compile(r"\bstreamnursery_[a-z0-9_]+")


def emitted() -> dict[str, set[str]]:
    """Sample names with the labels they have, of an engine that has done something."""
    found: dict[str, set[str]] = {}

    @virtual
    async def main() -> None:
        heartbeat = {"main": {"url": "http://main.example.com/v1", "heartbeat": {"interval": 5}}}
        priced = {"price": {"input": "1", "output": "4"}}
        budgets = {"daily": "1 USD"}
        async with scene(profile=AT_ONCE, endpoints=heartbeat, model=priced, budgets=budgets) as s:
            await ask(s.engine)
            await ask(s.engine, extra={"max_tokens": -1})
            await trio.sleep(20)
            text = telemetry.prometheus_text(s.engine)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)

    main()
    return found


EMITTED = emitted()


def expressions(path: Path) -> list[str]:
    text = path.read_text()
    if path.suffix != ".json":
        return re.findall(r"expr: *(?:\|\n(?: {10}.*\n)+|.*)", text)
    board = json.loads(text)
    queries = [variable["query"] for variable in board["templating"]["list"]]
    return queries + [target["expr"] for panel in board["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("name", ["dashboard.json", "alerts.yaml"])
def test_every_metric_and_label_of_a_query_exists(name: str) -> None:
    found = expressions(DOCS / "observability" / name)
    assert len(found) >= 6
    outside = {"job", "instance", "le"}
    for expression in found:
        metrics = METRIC.findall(expression)
        assert all(metric in EMITTED for metric in metrics), expression
        grouped = re.findall(r"(?:by|on) \(([^)]*)\)", expression)
        chosen = [
            re.findall(r"(\w+) *=~?", braces) for braces in re.findall(r"\{([^}]*)\}", expression)
        ]
        labels = {word.strip() for group in grouped for word in group.split(",")}
        labels.update(label for group in chosen for label in group)
        known = set().union(*(EMITTED[metric] for metric in metrics)) if metrics else set()
        assert labels - outside <= known, expression


def test_the_document_lists_every_metric() -> None:
    families = {
        re.sub(r"_(bucket|sum|count)$", "", name.removeprefix("streamnursery_")) for name in EMITTED
    }
    text = (DOCS / "observability.md").read_text()
    table = re.findall(r"^\| (`[a-z0-9_`, ]+`) \|", text, re.MULTILINE)
    listed = {name for row in table for name in re.findall(r"`([a-z0-9_]+)`", row)}
    assert families <= listed, families - listed
    assert listed - families <= {"request_errors_total"}, listed - families
