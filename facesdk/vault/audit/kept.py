"""The failures that outlive their part of an audit log: a stream of the owner's matches does not push them out.

They lie, the lines as they were, in `<user>.audit.kept-<16 digits of their SHA-256>`, which the log's head names.
A new file is written before a head asks for it, and the old one goes once that head is sealed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from facesdk.digest import sha256
from facesdk.errors import VaultError, VaultIntegrityError
from facesdk.vault import files
from facesdk.vault.audit.entry import NO_DIGEST, Entry, Head
from facesdk.vault.audit.verify import Problem, ProblemKind

MAX_SIZE = 256 * 1024


class KeptFailures:
    """The kept failures beside the log whose files begin with `base`. room: bytes they may take."""

    def __init__(self, folder: int, base: str, *, room: int = MAX_SIZE) -> None:
        self._folder, self._base, self._room = folder, base, min(room, MAX_SIZE)

    def write(self, before: bytes, let_go: Iterable[Entry]) -> bytes:
        """The digest of a new file: the failures of the file `before`, and those among what is let go; the newest of
        them, as many as there is room for. Zeros where there are none."""
        entries = {entry.n: entry for entry in self._entries(self._name(before))} if any(before) else {}
        entries.update({entry.n: entry for entry in let_go if entry.is_failure})
        lines: list[bytes] = []
        room = self._room
        for n in sorted(entries, reverse=True):
            line = entries[n].line() + b"\n"
            room -= len(line)
            if room < 0:
                break
            lines.append(line)
        if not lines:
            return NO_DIGEST
        content = b"".join(reversed(lines))
        digest = sha256(content)
        files.replace_file(self._folder, self._name(digest), content)
        return digest

    def read(self, head: Head | None) -> list[Entry]:
        """What there is, by number; of a head, what it names. Whether it is genuine is for `problem` to say."""
        names = self._names() if head is None else [self._name(head.kept)] * any(head.kept)
        found = {entry.n: entry for name in names for entry in self._entries(name)}
        return [found[n] for n in sorted(found)]

    def drop(self, *, but: bytes) -> None:
        """Removes the files that no head asks for any more."""
        for name in self._names():
            if name != self._name(but):
                os.unlink(name, dir_fd=self._folder)

    def problem(self, head: Head | None) -> Problem | None:
        """What is wrong with the file that the head vouches for, if anything."""
        if head is None or not any(head.kept):
            return None
        name = self._name(head.kept)
        try:
            if sha256(self._content(name)) == head.kept:
                return None
            kind, what = ProblemKind.EDITED, "the failures that were kept from older segments were altered"
        except FileNotFoundError:
            kind, what = ProblemKind.MISSING_SEGMENT, "the failures that were kept from older segments are gone"
        except (VaultIntegrityError, VaultError) as error:
            kind, what = ProblemKind.FOREIGN_FILE, str(error)
        return Problem(kind=kind, file=name, line=0, entry=None, sealed=True, message=what)

    def _name(self, digest: bytes) -> str:
        return f"{self._base}.kept-{digest.hex()[:16]}"

    def _names(self) -> list[str]:
        pattern = re.compile(re.escape(self._base) + r"\.kept-[0-9a-f]{16}")
        return sorted(filter(pattern.fullmatch, os.listdir(self._folder)))

    def _content(self, name: str) -> bytes:
        return files.read_guarded(self._folder, name, limit=MAX_SIZE)

    def _entries(self, name: str) -> list[Entry]:
        """The entries of a file, as far as they can be read: what cannot be is a problem, not a reason to stop."""
        try:
            found = [Entry.parse(line) for line in self._content(name).split(b"\n")]
        except (VaultIntegrityError, VaultError, FileNotFoundError):
            return []
        return [entry for entry in found if entry is not None]
