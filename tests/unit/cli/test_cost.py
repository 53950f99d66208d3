"""`cost`: reads the ledger that engines have written."""

import csv
import io
import json
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from streamnursery import EngineError, open_engine
from streamnursery.simulator import Cut, Plan, Profile, Provider, Reset, Rule, SimNetwork, When
from tests.support.cli import Command

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()
TEXT = """
[endpoints.main]
url = "http://main.example.com/v1"
[defaults]
retries = { base = 0.01 }
[models.m]
routes = [{ endpoint = "main" }]
price = { input = "0", output = "1000" }
[models.n]
routes = [{ endpoint = "main" }]
price = { input = "0", output = "500" }
[budgets]
monthly = "10"
ledger = "LEDGER"
[budgets.models.m]
daily = "0.1"
"""


def spend(path: Path, text: str, *, moments: tuple[float, ...] = (NOON,)) -> None:
    """Two requests at "m" and one at "n" on each day; one of those at "m" is lost."""
    path.write_text(text)

    async def day(moment: float) -> None:
        served = dict.fromkeys(("m", "n"), Profile(output_tokens=(10, 10)))
        plan = Plan((Rule((Reset(0),), When(requests=(1,))), Rule((Cut(4),), When(requests=(3,)))))
        provider = Provider(dice=random.Random(1), models=served, plan=plan)
        async with trio.open_nursery() as nursery:
            network = SimNetwork(nursery, {"main.example.com": provider})
            async with open_engine(path, network=network, wall=lambda: moment) as engine:
                for model in ("m", "m", "n"):
                    try:
                        await engine.complete(model, "Hi", max_tokens=10)
                    except EngineError:
                        continue
            nursery.cancel_scope.cancel()

    for moment in moments:
        trio.run(day, moment)


@pytest.fixture
def spent(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setattr("time.time", lambda: NOON)
    private = tmp_path / "money"
    private.mkdir(mode=0o700)
    text = TEXT.replace("LEDGER", str(private / "ledger.db"))
    command.write("streamnursery.toml", text)
    spend(tmp_path / "spend.toml", text, moments=(NOON - 86_400, NOON))
    return command


def test_without_a_ledger_there_is_nothing_to_read(command: Command) -> None:
    ran = command("cost")
    assert ran.code == 2
    assert "no ledger is kept" in ran.err


def test_a_ledger_that_is_not_there_is_told(command: Command) -> None:
    ran = command("cost", "--ledger", "nowhere.db")
    assert ran.code == 4
    assert "nothing was spent yet" in ran.err


def test_the_sums_reconcile_whatever_they_are_summed_by(spent: Command) -> None:
    reports = [
        json.loads(spent("cost", "--json", "--by", by).out)
        for by in ("model", "day", "day,model,tenant,endpoint", "endpoint")
    ]
    totals = [report["total"] for report in reports]
    assert totals.count(totals[0]) == len(totals)
    for report in reports:
        for name in ("attempts", "settled", "input_tokens", "output_tokens"):
            assert sum(line[name] for line in report["lines"]) == report["total"][name]
    assert totals[0]["uncertain"] == "0.02"
    # A day: 10 tokens of "m" in the retry, 4 of "m" before the cut, 10 of "n".
    assert totals[0]["spent"] == "0.038"
    monthly = next(b for b in reports[0]["budgets"] if b["scope"] == "all" and b["limit"])
    assert (monthly["limit"], monthly["spent"]) == ("10.00", totals[0]["spent"])


def test_today_is_less_than_the_month(spent: Command) -> None:
    today, month = (
        json.loads(spent("cost", flag, "--json").out)["total"] for flag in ("--today", "--month")
    )
    assert 2 * today["attempts"] == month["attempts"]


def test_the_csv_has_a_line_for_each_sum(spent: Command) -> None:
    lines = list(csv.DictReader(io.StringIO(spent("cost", "--by", "model", "--csv").out)))
    assert [line["model"] for line in lines] == ["m", "n"]


def test_the_table_shows_the_budgets(spent: Command) -> None:
    ran = spent("cost")
    assert "model m, daily" in ran.out
    assert "everything, monthly" in ran.out
    assert "cost --uncertain" in ran.err


def test_an_uncertain_attempt_is_listed_and_resolved_once(spent: Command) -> None:
    rows = json.loads(spent("cost", "--uncertain", "--json").out)["uncertain"]
    assert [row["estimate"] for row in rows] == ["0.01", "0.01"]
    name = rows[0]["id"]
    assert name in spent("cost", "--uncertain").out
    assert spent("cost", "--resolve", f"{name}=0.003").out.strip() == f"{name} has cost 0.003 USD"
    again = spent("cost", "--resolve", f"{name}=0.003")
    assert again.code == 2
    assert "settled already" in again.err
    spent("cost", "--resolve", f"{rows[1]['id']}=estimate")
    total = json.loads(spent("cost", "--json").out)["total"]
    assert (total["uncertain"], total["spent"]) == ("0.00", "0.051")
    assert "no attempt is uncertain" in spent("cost", "--uncertain").out


def test_a_file_resolves_many_or_none(spent: Command) -> None:
    rows = json.loads(spent("cost", "--uncertain", "--json").out)["uncertain"]
    one, two = (row["id"] for row in rows)
    spent.write("some.txt", f"# from the bill of the provider\n{one} = 0.003\n\nnobody=1\n")
    ran = spent("cost", "--resolve", "@some.txt")
    assert ran.code == 2
    assert "no uncertain attempt is called nobody" in ran.err
    assert len(json.loads(spent("cost", "--uncertain", "--json").out)["uncertain"]) == 2
    spent.write("some.txt", f"# from the bill of the provider\n{one} = 0.003\n\n{two}=estimate\n")
    assert spent("cost", "--resolve", "@some.txt").code == 0
    assert "no attempt is uncertain" in spent("cost", "--uncertain").out
    assert json.loads(spent("cost", "--json").out)["total"]["spent"] == "0.051"


def test_a_damaged_ledger_is_told_with_its_remedy_and_repaired(
    spent: Command, tmp_path: Path
) -> None:
    ledger = tmp_path / "money" / "ledger.db"
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("UPDATE accounts SET spent = 0")
        connection.commit()
    before = json.loads(spent("cost", "--json").out)["total"]
    repaired = spent("cost", "--repair")
    assert repaired.code == 0
    assert "model m, 2026-06: was 0.00 USD spent" in repaired.out
    assert ".old-20260615T120000Z" in repaired.out
    after = json.loads(spent("cost", "--json").out)
    assert after["total"] == before
    monthly = next(b for b in after["budgets"] if b["scope"] == "all" and b["limit"])
    assert monthly["spent"] == before["spent"]
    assert "has changed" in spent("cost", "--repair").out


def test_a_ledger_that_is_an_empty_file_is_no_ledger(spent: Command, tmp_path: Path) -> None:
    (tmp_path / "money" / "ledger.db").write_bytes(b"")
    ran = spent("cost")
    assert ran.code == 4
    assert "was there and is empty" in ran.err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--resolve", "@nowhere"), "cannot read the file"),
        (("--by", "modle"), "did you mean model"),
        (("--resolve", "x"), "an id and an amount"),
        (("--resolve", "x=many"), "US dollars"),
        (("--today", "--month"), "not allowed with"),
    ],
)
def test_a_slip_is_told(spent: Command, words: tuple[str, ...], what: str) -> None:
    ran = spent("cost", *words)
    assert ran.code == 2
    assert what in ran.err
