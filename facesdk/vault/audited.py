"""What the audit log of a user holds, read whole: the report and the entries, those that still wait among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from facesdk.vault.audit.log import mismatch_of, unplaced
from facesdk.vault.audit.verify import Report
from facesdk.vault.keys.provider import KeyProvider
from facesdk.vault.open_keys import OpenKeys
from facesdk.vault.opening import loaded
from facesdk.vault.userfiles import UserFiles

if TYPE_CHECKING:
    from facesdk.vault.audit.entry import Entry, Head


def audited(file: UserFiles, head: Head | None) -> tuple[Report, list[Entry], bool]:
    """As Vault.audit, with the sealed head where there is a key for it."""
    report = file.log.verify(head)
    if report.problem:
        return report, [], head is not None
    entries = file.log.read(head)
    written = len(entries)
    if head is None:
        _add_waiting(entries, file.open_entries(), since=0)
    else:
        _add_waiting(entries, head.open, since=head.count)
    report = replace(report, entries=report.entries + len(entries) - written)  # what waits is in the sealed head
    return report, entries, head is not None


def head_for_audit(file: UserFiles, provider: KeyProvider | None, open_keys: OpenKeys) -> Head | None:
    """The sealed head, by the key given or the open one; None where there is neither."""
    if provider is not None:
        with file.unwrapped(provider) as (header, kek):
            return file.read_head(header, kek)
    with loaded(open_keys, file.user) as held:
        return None if held is None else file.newest_head(held.kek, held.head)


def _add_waiting(entries: list[Entry], waiting: Sequence[Entry], *, since: int) -> None:
    """Puts what waits to be written behind the rest, unless an entry made without the key has put it there already."""
    there = {unplaced(entry) for entry in entries if entry.n >= since}
    for entry in waiting:
        if not {entry, mismatch_of(entry)} & there:
            entries.append(replace(entry, n=entries[-1].n + 1 if entries else 0))
