"""Compiles again only what changed; setup.py uses it.

An object is used again if the compiler, the command and the content of every file that the compiler read are what they
were. By content and not by time: a build environment of pip's lies in another folder each time, with the same headers
in it, and a checkout gives old files new times.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

# What of the environment changes an object, besides the command (GCC's manual, "Environment Variables Affecting GCC").
ENVIRONMENT = ("COMPILER_PATH", "CPATH", "CPLUS_INCLUDE_PATH", "C_INCLUDE_PATH", "GCC_EXEC_PREFIX", "SOURCE_DATE_EPOCH")


@cache
def digest(path: str) -> str:
    """The sha256 of a file's content when it was first asked for; empty if it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def files_read(depfile: Path) -> list[str]:
    """The files that a compiler's dependency file (-MD) names. Blanks in names are escaped there as make does."""
    _, _, names = depfile.read_text(encoding="utf-8").replace("\\\n", " ").partition(": ")
    words = names.replace("\\ ", "\0").split()
    return [word.replace("\0", " ").replace("\\#", "#").replace("$$", "$") for word in words]


class ChangedOnly:
    """Stands in for a distutils compiler's _compile."""

    def __init__(self, compile_one: Callable[..., None], *, compiler: str, folders: Mapping[str, str]) -> None:
        """compiler: command and version. folders: names by folders whose place is not a change."""
        self._compile_one = compile_one
        self._compiler = compiler
        self._folders = folders

    def __call__(
        self, obj: str, src: str, ext: str, cc_args: list[str], postargs: list[str], pp_opts: list[str]
    ) -> None:
        stamp, depfile = Path(f"{obj}.json"), Path(f"{obj}.d")
        environment = [os.environ.get(name) for name in ENVIRONMENT]
        command = self._named(json.dumps([self._compiler, src, cc_args, postargs, environment]))
        if os.path.exists(obj) and self._is_same(stamp, command):
            return
        stamp.unlink(missing_ok=True)
        started = time.time()
        self._compile_one(obj, src, ext, cc_args, [*postargs, "-MD", "-MF", str(depfile)], pp_opts)
        files = files_read(depfile)
        # What was written meanwhile may not be what the compiler read.
        if all(os.stat(path).st_mtime < started for path in files):
            text = {"command": command, "files": {self._named(path): digest(path) for path in files}}
            stamp.write_text(json.dumps(text), encoding="utf-8")

    def _is_same(self, stamp: Path, command: str) -> bool:
        try:
            then = json.loads(stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return then["command"] == command and all(digest(self._place(n)) == d for n, d in then["files"].items())

    def _named(self, text: str) -> str:
        for folder, name in self._folders.items():
            text = text.replace(folder, name)
        return text

    def _place(self, text: str) -> str:
        for folder, name in self._folders.items():
            text = text.replace(name, folder)
        return text
