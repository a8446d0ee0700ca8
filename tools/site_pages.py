"""What mkdocs is told of this repository: pages whose source lies outside docs/, and links as GitHub reads them.

A hook of mkdocs.yml. Links in the pages are relative to the file that they stand in, so that they work in the
repository; on the site, one to a page goes to the page, and one to a file of code becomes the file's name.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Pages of the site that stay where people and tools look for them in the repository.
ELSEWHERE = {
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "models/README.md": "models.md",
    "facesdk/portraits/CREDITS.md": "portraits.md",
    "native/LICENSES/README.md": "licences.md",
    "benchmarks/boards/README.md": "contribute-a-board.md",
    "packaging/deb/README.md": "debian-package.md",
    "README.md": "index.md",
}
LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\(([^()\s]+)\)")
# The plugin `offline` asks another server for this; a script of ours does the same.
SHIM, OURS = "https://unpkg.com/iframe-worker/shim", "assets/file-worker.js"
FENCE = re.compile(r"^ *(```|~~~)")


def source_of(page: str) -> str:
    """The path in the repository of a page of the site."""
    return next((path for path, at in ELSEWHERE.items() if at == page and path != "README.md"), f"docs/{page}")


def page_of(path: str) -> str | None:
    """The page of the site that shows this file of the repository, or None."""
    if path in ELSEWHERE:
        return ELSEWHERE[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages from outside docs/."""
    from mkdocs.structure.files import File

    for path, page in ELSEWHERE.items():
        if path != "README.md":  # the site has a first page of its own
            files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with links that work on the site."""
    here = page.file.src_uri
    fenced, lines = False, []
    for line in markdown.split("\n"):
        if FENCE.match(line):
            fenced = not fenced
        lines.append(line if fenced else LINK.sub(lambda found: _link(found, here), line))
    return "\n".join(lines)


def _link(found: re.Match[str], here: str) -> str:
    text, target = found[1], found[2]
    if ":" in target or target.startswith("#"):
        return found[0]
    name, _, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source_of(here)), name))
    page = page_of(path)
    if page is None:
        plain = text.strip("`")
        return f"`{path}`" if plain == path or plain == posixpath.basename(path) else f"{text} (`{path}`)"
    start = posixpath.dirname(here) or "."
    return f"[{text}]({posixpath.relpath(page, start)}{'#' + anchor if anchor else ''})"


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """The page without the one script that came from elsewhere."""
    return output.replace(SHIM, posixpath.relpath(OURS, posixpath.dirname(page.url) or "."))


def on_post_template(output_content: str, template_name: str, **_: Any) -> str:
    """The same for 404.html."""
    return output_content.replace(SHIM, OURS)
