"""Writes the documents of the Debian package to stdout: tools/build_deb.sh calls this.

python tools/deb_documents.py copyright SITE PLACE
python tools/deb_documents.py changelog CHANGELOG --release VERSION --version VERSION --suite SUITE --maintainer WHO

The copyright file (DEP 5) is made of what the unpacked wheels in SITE say of themselves and names their licence texts
by where they are installed, PLACE. The changelog is the release's section of ours in Debian's form.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from email.utils import formatdate
from pathlib import Path

OURS = "facesdk-unlock"
HEAD = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: facesdk-unlock
Comment:
 Besides facesdk this package holds wheels of others from PyPI, unchanged but for
 their tests and static libraries, which are left out. Each brings its licence texts;
 they are installed with it, at the paths named below. The libraries that a wheel brings
 in its folder NAME.libs have licences of their own, which the same texts name.
"""


def _metadata(info: Path) -> Message:
    return Parser().parsestr((info / "METADATA").read_text(encoding="utf-8"))


def _texts(info: Path) -> list[Path]:
    return sorted(path for path in (info / "licenses").rglob("*") if path.is_file())


def _owners(texts: list[Path]) -> list[str]:
    """Lines that name who holds the copyright: the first ones of each text, each once."""
    found: dict[str, None] = {}
    for path in texts:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        named = (re.sub(r"^[\s*#]*", "", line) for line in lines)
        for line in [line for line in named if re.match(r"(Copyright\b.*\d{4}|Copyright \(c\))", line)][:3]:
            found[re.sub(r"^Copyright:?\s*(\([cC]\)|©)?\s*", "", line).rstrip(" .")] = None
    return [line for line in found if not line.startswith("[")]


def _licence(metadata: Message, info: Path) -> str:
    stated = metadata["License-Expression"] or metadata["License"]
    if not stated or "\n" in stated:
        raise ValueError(f"{info.name} does not say its licence in one line")
    return str(stated)


def _files(info: Path, place: str) -> Iterator[str]:
    """Patterns for what the wheel put into site-packages."""
    rows = csv.reader((info / "RECORD").read_text(encoding="utf-8").splitlines())
    tops = {row[0].split("/")[0] + ("/*" if "/" in row[0] else "") for row in rows if not row[0].startswith("..")}
    for top in sorted(tops - {"bin/*", "share/*", "__pycache__/*"}):
        yield f"{place}/{top}".lstrip("/")


def _ours(info: Path, place: str) -> str:
    texts = f"{place}/{info.name}/licenses"
    return f"""
Files: *
Copyright: the authors of facesdk
License: Apache-2.0
 The whole text is in /usr/share/common-licenses/Apache-2.0.
Comment:
 Code of others that is part of it, LiteRT above all: {texts}/native/LICENSES/README.md
 says what and under which licences; their texts are beside it. Models:
 {place}/facesdk/_models/README.md,
 texts in {texts}/models/LICENSES. Portraits, some of
 them under CC BY 3.0, CC BY-SA 3.0 and 4.0:
 {texts}/facesdk/portraits/CREDITS.md
"""


def copyright_file(site: Path, place: str) -> str:
    """The text. ValueError if a wheel does not say its licence or brings no text of it."""
    parts = [HEAD]
    infos = sorted(site.glob("*.dist-info"), key=lambda info: (not info.name.startswith("facesdk_"), info.name))
    for info in infos:
        metadata = _metadata(info)
        if metadata["Name"] == OURS:
            parts.append(_ours(info, place))
            continue
        texts = _texts(info)
        if not texts:
            raise ValueError(f"{info.name} brings no licence text")
        owners = _owners(texts) or [f"the authors of {metadata['Name']}"]
        listed = [f"{place}/{path.relative_to(site)}" for path in texts]
        parts.append(
            "\nFiles:\n" + "".join(f" {name}\n" for name in _files(info, place))
            + "Copyright:\n" + "".join(f" {name}\n" for name in owners)
            + f"License: {_licence(metadata, info)}\n The whole text is in\n" + "".join(f" {name}\n" for name in listed)
            + f"Comment: {metadata['Name']} {metadata['Version']}\n"
        )  # fmt: skip
    return "".join(parts)


def section(changelog: str, release: str) -> list[str]:
    """The points of a release in our changelog, each on one line. ValueError if there are none."""
    found = re.search(rf"^## {re.escape(release)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    points = re.split(r"^\* ", found.group(1), flags=re.MULTILINE)[1:] if found else []
    if not points:
        raise ValueError(f"the changelog has no points of {release}")
    return [" ".join(point.split()) for point in points]


def changelog_file(points: list[str], *, version: str, suite: str, maintainer: str) -> str:
    """One entry, dated by SOURCE_DATE_EPOCH."""
    lines = [f"facesdk ({version}) {suite}; urgency=medium", ""]
    for point in points:
        lines += textwrap.wrap(point, 80, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False)
    date = formatdate(int(os.environ.get("SOURCE_DATE_EPOCH", "315532800")), localtime=False)
    return "\n".join([*lines, "", f" -- {maintainer}  {date.replace('-0000', '+0000')}", ""])


def main() -> None:
    """Prints the document that was asked for; exits with the reason if it cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    legal = commands.add_parser("copyright")
    legal.add_argument("site", type=Path, help="folder with the unpacked wheels")
    legal.add_argument("place", help="where that folder is installed")
    changes = commands.add_parser("changelog")
    changes.add_argument("file", type=Path)
    changes.add_argument("--release", required=True, help="version of the section")
    changes.add_argument("--version", required=True, help="version of the package")
    changes.add_argument("--suite", required=True)
    changes.add_argument("--maintainer", required=True)
    given = parser.parse_args()
    try:
        if given.command == "copyright":
            text = copyright_file(given.site, given.place)
        else:
            points = section(given.file.read_text(encoding="utf-8"), given.release)
            text = changelog_file(points, version=given.version, suite=given.suite, maintainer=given.maintainer)
    except ValueError as error:
        sys.exit(f"deb_documents.py: {error}")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
