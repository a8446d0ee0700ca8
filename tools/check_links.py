"""check_links.py [FILE...]: whether each relative link and anchor of the pages leads somewhere, else exit code 1.

Without FILE: README.md, SECURITY.md, CONTRIBUTING.md, CHANGELOG.md, docs/**, and the other pages that the site shows.
Also whether each docs/*.md that code, tests and tools name is there. Nothing asks the network.
"""

from __future__ import annotations

import html
import re
import sys
from functools import cache
from pathlib import Path

from site_pages import ELSEWHERE, FENCE

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(
    r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*([^()\s]+(?:\([^()]*\))?)(?:\s+\"[^\"]*\")?\s*\)|(?:src|href)=\"([^\"]+)\""
)
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$")
NAMED = re.compile(r"\bdocs/[\w./-]+\.(?:md|svg)\b")
CODE = (
    "facesdk", "tests", "tools", "benchmarks", "native", "examples", "models", "pyproject.toml", "setup.py", ".ci/run",
)  # fmt: skip


def pages() -> list[Path]:
    """What is checked where nothing is named."""
    return [*(ROOT / path for path in ELSEWHERE), *sorted((ROOT / "docs").rglob("*.md"))]


def prose(path: Path) -> list[tuple[int, str]]:
    """The lines outside of code, with their numbers; code within a line is blanked."""
    lines, fenced = [], False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            lines.append((number, line))
    return lines


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub and the site make them, and those that it names itself."""
    found: list[str] = []
    for _, line in prose(path):
        found += re.findall(r"(?:id|name)=\"([\w-]+)\"", line)
        if heading := HEADING.match(line):
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", html.unescape(heading[1])).replace("`", "")
            if named := re.search(r"\{[^}]*#([\w-]+)[^}]*\}$", text):
                found.append(named[1])
                continue
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return frozenset(found)


def problems_of(path: Path) -> list[str]:
    """One line for each link of the page that leads nowhere."""
    problems = []
    for number, line in prose(path):
        for found in LINK.finditer(re.sub(r"`[^`]*`", lambda code: "`" * len(code[0]), line)):
            target = found[1] or found[2]
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            to = (path.parent / name).resolve() if name else path
            where = f"{path.relative_to(ROOT)}:{number}: {target}"
            if target.startswith("/") or not to.is_relative_to(ROOT):
                problems.append(f"{where}: not a path within the repository")
            elif not to.exists():
                problems.append(f"{where}: there is no such file")
            elif anchor and (to.suffix != ".md" or anchor not in anchors(to)):
                problems.append(f"{where}: there is no such heading")
    return problems


def named_in_code() -> list[str]:
    """One line for each page of docs/ that code names and that is not there."""
    problems = []
    for place in CODE:
        top = ROOT / place
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.suffix not in (".py", ".sh", ".toml", ".h", ".cpp", ".md", ".pyi", "") or not path.is_file():
                continue
            for name in NAMED.findall(path.read_text(encoding="utf-8", errors="replace")):
                if not (ROOT / name).exists():
                    problems.append(f"{path.relative_to(ROOT)}: {name}: there is no such file")
    return problems


def main(names: list[str]) -> int:
    """Prints what is wrong."""
    chosen = [Path(name).resolve() for name in names] or pages()
    problems = [problem for path in chosen for problem in problems_of(path)]
    problems += [] if names else named_in_code()
    print("\n".join(problems) if problems else f"the links of {len(chosen)} pages lead somewhere")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
