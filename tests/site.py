"""Writes the documentation as a site into build/site (`make site`, ADR 0041).

The Markdown of docs/ is read on GitHub as it lies in the repository, where a page may link to a
file outside docs/. The site has no such files: those links are rewritten to the repository's
address, in a copy. The site also gets `llms.txt` (llmstxt.org): every page of the navigation with
its first sentence.

    python -m tests.site                needs the packages of requirements/site.lock
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILD = ROOT / "build" / "site-source"
LINK = re.compile(r"(?<!\\)(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^()\s]+)(\))")
"""A link or a picture of Markdown: what stands before its target, the target, and after."""
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)


def pages() -> list[Path]:
    """Every page of Markdown that users read."""
    return sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


def links(text: str) -> Iterator[str]:
    """Targets of the links of a page; code has none."""
    for found in LINK.finditer(CODE.sub("", text)):
        yield found[2]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub and the site give to the headings of a page."""
    bare = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found: set[str] = set()
    for title in HEADING.findall(bare):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(name)
    return found


def mistakes(page: Path) -> Iterator[str]:
    """Links of a page that lead nowhere, each with the reason."""
    for target in links(page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            yield f"{page.relative_to(ROOT)}: {target}: no such file"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
            yield f"{page.relative_to(ROOT)}: {target}: no such heading"


def address() -> str:
    """Where a reader finds the repository's files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return f"{project['urls']['Repository']}/blob/main"


def of_the_site(text: str, page: PurePosixPath) -> str:
    """The page's text with links out of docs/ made absolute; `page` is relative to docs/."""

    def rewritten(found: re.Match[str]) -> str:
        target = found[2]
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        parts: list[str] = []
        for part in ("docs" / page.parent / target).parts:
            if part == "..":
                parts.pop()
            else:
                parts.append(part)
        if parts[0] == "docs":
            return found[0]
        return f"{found[1]}{address()}/{'/'.join(parts)}{found[3]}"

    return LINK.sub(rewritten, text)


def navigation() -> list[PurePosixPath]:
    """The pages of mkdocs.yml's `nav`, in its order."""
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1].split("\nnot_in_nav")[0]
    return [PurePosixPath(name) for name in re.findall(r"\S+\.md", nav)]


def llms() -> str:
    """The text of llms.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [f"# {project['name']}", "", f"> {project['description']}", "", "## Docs", ""]
    for page in navigation():
        title, _, body = (DOCS / page).read_text().partition("\n")
        prose = next(
            (part for part in body.split("\n\n") if re.match(r"\s*(?!```)[A-Z`\[]", part)),
            "",
        )
        plain = " ".join(LINK.sub(lambda found: found[1][1:-2], prose).split())
        first = re.split(r"(?<=[.:]) ", plain, maxsplit=1)[0]
        lines.append(f"- [{title.lstrip('# ')}]({page}): {first}".rstrip(": "))
    return "\n".join(lines) + "\n"


def main() -> None:
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(DOCS, BUILD / "docs")
    for page in (BUILD / "docs").rglob("*.md"):
        relative = PurePosixPath(page.relative_to(BUILD / "docs"))
        page.write_text(of_the_site(page.read_text(), relative))
    shutil.copy(ROOT / "mkdocs.yml", BUILD)
    (BUILD / "docs" / "llms.txt").write_text(llms())
    zensical = str(Path(sys.executable).with_name("zensical"))
    command = [zensical, "build", "--clean", "--strict"]
    subprocess.run(command, cwd=BUILD, check=True)
    shutil.rmtree(ROOT / "build" / "site", ignore_errors=True)
    shutil.move(BUILD / "site", ROOT / "build" / "site")
    # What llms.txt links to: a reader of it wants Markdown.
    for page in (BUILD / "docs").rglob("*.md"):
        shutil.copy(page, ROOT / "build" / "site" / page.relative_to(BUILD / "docs"))


if __name__ == "__main__":
    main()
