"""docs/grade.md from findings: `python -m benchmarks.grade_table FOLDER FILE`."""

import json
import sys
from pathlib import Path

from streamnursery.testing.grade import CLIENTS, CaseResult, Grades, Verdict
from streamnursery.testing.grade_menu import LIMIT, CaseGroup, Want

MEASURED = "2026-12-01"
_HEAD = f"""\
# What clients do when the provider misbehaves

Made by `make grade` over the loopback on {MEASURED}, three times with equal verdicts: every
client as its own documentation shows it, with its own defaults, against one simulated provider.
A client is graded after three plain answers; a verdict compares the provider's log with what the
client says, and the time of a case runs from its first request. In CAPITALS: what its user cannot
see, or waits for longer than {LIMIT:.0f} s.

`floor` asks once, reads nothing and says that it failed: what it scores is no merit. `ceiling` is
a client of 120 lines on Python's standard library, written for this table: no case asks for this
engine. `httpx` is httpx with the dozen lines of SSE that people write on top of it, `curl`
likewise. The last columns speak other languages, Anthropic's Messages and Google's Gemini API: this
engine in each, and their own clients. Where a language has no `[DONE]`, what takes its place is
left out.
`relayed-` is the same SDK with `http_client=streamnursery.sdk.client()`.

"""


def grades(folder: Path) -> Grades:
    """Every finding of the folder."""
    saved = [json.loads(path.read_text() or "{}") for path in sorted(folder.glob("*.json"))]
    found = [
        CaseResult(**{
            **{name: one[name] for name in ("client", "case", "requests", "seconds", "error")},
            "leaked": one["leaked"],
            "want": Want(one["want"]),
            "verdict": Verdict(one["verdict"]),
            "group": CaseGroup(one.get("group", "truth")),
        })
        for one in (finding for part in saved for finding in part.get("findings", ()))
    ]
    found.sort(key=lambda finding: CLIENTS.index(finding.client))
    versions = {client: said for part in saved for client, said in part.get("versions", {}).items()}
    return Grades(tuple(found), versions)


def page(found: Grades) -> str:
    """The whole document."""
    return _HEAD + found.as_markdown() + _made_of(found)


def _made_of(found: Grades) -> str:
    """Which versions these were, of the clients that said it."""
    told = [
        f"- {client}: {', '.join(f'{name} {version}' for name, version in said.items())}\n"
        for client in found.clients
        if (said := found.versions.get(client))
    ]
    return "\n" * bool(told) + "".join(told)


def main() -> None:
    """Read every file of the folder, write the page."""
    Path(sys.argv[2]).write_text(page(grades(Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
