"""python docs/pictures/make.py: the pictures of docs/concepts.md, for light and dark pages."""

from html import escape
from pathlib import Path

import attrs

FOLDER = Path(__file__).parent
WIDTH = 760
STYLE = (
    "<style>"
    "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#16181d}"
    ".small{font-size:11.5px;fill:#5b616e}.box{fill:#fff;stroke:#9aa1ad}"
    ".ours{fill:#eaf1fd;stroke:#2a6fdb}.bad{fill:#fdeee8;stroke:#d9541e}"
    ".good{fill:#e6f4ef;stroke:#1a8a6a}path{stroke:#5b616e;fill:none;stroke-width:1.4}"
    "marker path{fill:#5b616e;stroke:none}"
    "@media(prefers-color-scheme:dark){text{fill:#e9ebef}.small{fill:#a0a6b3}"
    ".box{fill:#1b1e24;stroke:#6b7280}.ours{fill:#1b2a44;stroke:#6aa2ff}"
    ".bad{fill:#3a211a;stroke:#ff8f61}.good{fill:#17332b;stroke:#4fc3a1}"
    "path{stroke:#a0a6b3}marker path{fill:#a0a6b3}}"
    "</style>"
    '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
)


@attrs.define
class Picture:
    """Boxes, arrows and words on a plane."""

    title: str
    height: int
    parts: list[str] = attrs.field(factory=list)

    def box(self, x: int, y: int, w: int, h: int, *lines: str, kind: str = "box") -> None:
        """The first line is the name, the others are small."""
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{w}" height="{h}" rx="6"/>')
        top = y + h / 2 - (len(lines) - 1) * 8 + 4
        for number, line in enumerate(lines):
            small = ' class="small"' if number else ""
            self.parts.append(
                f'<text{small} x="{x + w / 2}" y="{top + 16 * number}" text-anchor="middle">'
                f"{escape(line)}</text>"
            )

    def arrow(
        self, *points: tuple[int, int], label: str = "", at: tuple[int, int] = (0, 0)
    ) -> None:
        path = " ".join(f"{'M' if k == 0 else 'L'}{x} {y}" for k, (x, y) in enumerate(points))
        self.parts.append(f'<path d="{path}" marker-end="url(#a)"/>')
        if label:
            self.words(*at, label)

    def words(self, x: int, y: int, text: str, anchor: str = "middle") -> None:
        self.parts.append(
            f'<text class="small" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def svg(self) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" '
            f'role="img" aria-label="{escape(self.title)}">{STYLE}{"".join(self.parts)}</svg>\n'
        )


def request() -> Picture:
    p = Picture("One request from the caller to its outcome", 250)
    p.box(10, 90, 110, 56, "your task", "async with", "stream(...)")
    p.box(170, 90, 120, 56, "admission", "slots, rates,", "money", kind="ours")
    p.box(340, 90, 120, 56, "attempt", "one HTTP", "exchange", kind="ours")
    p.box(510, 90, 110, 56, "provider", "bytes")
    p.arrow((120, 118), (168, 118))
    p.arrow((290, 118), (338, 118), label="lease", at=(314, 110))
    p.arrow((460, 118), (508, 118))
    p.arrow(
        (565, 146), (565, 205), (66, 205), (66, 150), label="events, as they come", at=(315, 198)
    )
    p.arrow((400, 90), (400, 40), (230, 40), (230, 86))
    p.words(315, 32, "failed before the first token: another attempt, another lease")
    p.box(650, 66, 100, 40, "complete", kind="good")
    p.box(650, 116, 100, 40, "failed", kind="bad")
    p.box(650, 166, 100, 40, "cancelled")
    p.arrow((620, 110), (648, 88))
    p.arrow((620, 118), (648, 134))
    p.arrow((620, 126), (648, 182))
    p.words(700, 226, "exactly one outcome")
    return p


def limits() -> Picture:
    p = Picture("A request is admitted by all its limits at once", 220)
    p.box(10, 84, 120, 52, "queue", "by priority,", "fair by tenant", kind="ours")
    for number, (name, what) in enumerate((
        ("engine", "max_streams"),
        ("endpoint", "max_streams, rpm, tpm"),
        ("model", "max_streams, rpm, tpm"),
        ("budget", "daily, monthly"),
    )):
        p.box(220, 8 + 52 * number, 190, 42, name, what)
        p.arrow((130, 110), (218, 29 + 52 * number))
    p.box(500, 84, 130, 52, "lease", "all of it,", "or none of it", kind="good")
    for number in range(4):
        p.arrow((410, 29 + 52 * number), (498, 110))
    p.words(565, 160, "who waits for one limit")
    p.words(565, 176, "holds nothing of the others")
    return p


def recovery() -> Picture:
    p = Picture("What happens after a failure", 260)
    p.box(10, 100, 130, 50, "an attempt fails", kind="bad")
    p.box(200, 20, 190, 50, "before the first token", "nothing was delivered")
    p.box(200, 180, 190, 50, "after the first token", "text was delivered")
    p.arrow((140, 120), (198, 50))
    p.arrow((140, 130), (198, 200))
    p.box(450, 4, 196, 36, "again, after a wait", kind="ours")
    p.box(450, 50, 196, 36, "next endpoint, next model", kind="ours")
    p.arrow((390, 40), (448, 24))
    p.arrow((390, 50), (448, 66))
    p.box(450, 150, 196, 36, "resume, continue, restart", kind="ours")
    p.box(450, 210, 196, 36, "typed error + partial", kind="bad")
    p.arrow((390, 200), (448, 172))
    p.arrow((390, 210), (448, 228))
    p.words(548, 138, "behind a visible mark, if you ask for it")
    p.words(548, 104, "unseen by the caller, and in the records")
    return p


def money() -> Picture:
    p = Picture("What a request may cost is held before it leaves", 170)
    names = (
        ("hold", "the most it may cost", "ours"),
        ("reserve", "written before it is sent", "ours"),
        ("settle", "what it has cost", "good"),
    )
    for number, (name, what, kind) in enumerate(names):
        p.box(20 + 250 * number, 30, 200, 50, name, what, kind=kind)
        if number:
            p.arrow((250 * number - 30, 55), (250 * number + 18, 55))
    p.box(270, 112, 200, 44, "uncertain", "a crash, or no report", kind="bad")
    p.arrow((370, 80), (370, 110))
    p.words(490, 138, "counts as spent until it is known", "start")
    return p


def main() -> None:
    for made in (request, limits, recovery, money):
        (FOLDER / f"{made.__name__}.svg").write_text(made().svg())


if __name__ == "__main__":
    main()
