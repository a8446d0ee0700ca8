"""Writes the shells' completions and the manual page of the command `facesdk`, from its parser.

Usage: python tools/make_shell_files.py [--check]

--check writes nothing: exit code 1 where a file is not what it would write. Needs shtab and argparse-manpage (extra
shell).
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "facesdk" / "cli" / "completions"
os.environ["COLUMNS"] = "120"  # argparse wraps by it


def completions() -> dict[str, str]:
    """The completion script of each shell, by its file's name."""
    import shtab

    from facesdk.cli.parser import make_parser
    from facesdk.cli.shell import FILES

    return {name: shtab.complete(make_parser(), shell=shell) for shell, name in FILES.items()}


def manual() -> str:
    """The manual page, without the day on which it was made."""
    from argparse_manpage.manpage import Manpage

    from facesdk.cli.parser import make_parser
    from facesdk.version import __version__

    parser = make_parser()
    data = {
        "project_name": "facesdk", "version": __version__, "description": parser.description, "long_description": None,
        "format": "pretty", "manual_section": "1", "manual_title": "facesdk",
    }  # fmt: skip
    page = str(Manpage(parser, _data=data))
    return re.sub(
        r"^\.TH .*$", f'.TH FACESDK "1" "" "facesdk {__version__}" "User commands"', page, count=1, flags=re.M
    )


def main() -> int:
    """0 when every file is there as it must be."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true")
    check = options.parse_args().check
    stale = []
    for name, text in {**completions(), "facesdk.1": manual()}.items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    print(f"{'stale' if check else 'written'}: {', '.join(stale) or 'none'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
