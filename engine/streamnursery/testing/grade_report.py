"""What was found: one client in one case, and the table of all."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from streamnursery.testing.grade_menu import CaseGroup, Want
from streamnursery.testing.grade_verdict import Verdict

_GOOD = {
    Want.ANSWER: (Verdict.CORRECT,),
    Want.ERROR: (Verdict.TYPED_ERROR, Verdict.CORRECT, Verdict.MARKED),
    Want.LEAVE: (Verdict.STOPPED,),
}


@attrs.frozen
class CaseResult:
    """One client in one case."""

    client: str
    case: str
    want: Want
    verdict: Verdict
    requests: int
    """That reached the provider."""
    seconds: float
    """From its first request to its end."""
    error: str = ""
    """Class of the error that its user got."""
    leaked: int = 0
    """Answers still under way at the provider a second after the client was done with its own."""
    group: CaseGroup = CaseGroup.TRUTH

    @property
    def good(self) -> bool:
        return self.verdict in _GOOD[self.want] and not self.leaked

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        own = attrs.asdict(self)
        kinds = {"want": self.want.value, "verdict": self.verdict.value, "group": self.group.value}
        return {**own, **kinds, "good": self.good}


@attrs.frozen
class Grades:
    """All findings."""

    findings: tuple[CaseResult, ...]
    versions: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    """By client: of the programs it is made of, as it says itself."""
    not_started: Mapping[str, str] = attrs.field(factory=dict)
    """Clients that had no plain answers to show, and why: they are not graded."""

    @property
    def clients(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(found.client for found in self.findings))

    def score(self, client: str, group: CaseGroup | None = None) -> tuple[int, int]:
        """Cases it did well in, and all; of one group, or of every one."""
        own = [
            found
            for found in self.findings
            if found.client == client and group in (None, found.group)
        ]
        return sum(found.good for found in own), len(own)

    def rows(self) -> list[list[str]]:
        """A table: head, a row for each case below the scores of its group, the scores."""
        table = [["case", *self.clients]]
        for group in CaseGroup:
            cases = dict.fromkeys(found.case for found in self.findings if found.group is group)
            if cases:
                table.append(self._scores(f"{group.value}:", group))
                table.extend(self._case_rows(cases))
        return [*table, self._scores("done well", None)]

    def _case_rows(self, cases: Iterable[str]) -> Iterable[list[str]]:
        by_place = {(found.case, found.client): found for found in self.findings}
        for case in cases:
            yield [case, *(_cell(by_place.get((case, client))) for client in self.clients)]

    def _scores(self, title: str, group: CaseGroup | None) -> list[str]:
        scores = [self.score(client, group) for client in self.clients]
        return [title, *(f"{good} of {every}" for good, every in scores)]

    def as_markdown(self) -> str:
        """The table for a document."""
        head, *rest = self.rows()
        lines = [head, ["---"] * len(head), *rest]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def as_json(self) -> dict[str, Any]:
        """A stable object."""
        return {
            "schema": "streamnursery.grade/2",
            "versions": {client: dict(self.versions.get(client, {})) for client in self.clients},
            "scores": {client: list(self.score(client)) for client in self.clients},
            "did_not_start": dict(self.not_started),
            "findings": [found.as_json() for found in self.findings],
        }


def _cell(found: CaseResult | None) -> str:
    if found is None:
        return "-"
    asked = f", {found.requests} requests" if found.requests > 1 else ""
    leaked = f", {found.leaked} LEAKED" if found.leaked else ""
    return found.verdict.value + asked + leaked
