"""What an audit log is made of: its entries, one line each, and the sealed head that vouches for them."""

from __future__ import annotations

import json
import os
import re
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from facesdk.digest import sha256
from facesdk.errors import InputError, VaultIntegrityError
from facesdk.types import Decision
from facesdk.vault import crypto
from facesdk.vault.record import MAX_INTEGER, check_user

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_LINE = 512
FILES = "files"  # the camera of what was not seen by one
NO_DIGEST = bytes(32)  # in place of the line before the first
HINT = "`facesdk audit --verify` shows where; `facesdk audit --restart` with the passphrase begins a new log"

_CAMERA = re.compile(r"[ !#-\[\]-~]{1,64}")  # printable ASCII that JSON does not escape
_POLICY = re.compile(r"[ !#-\[\]-~]{0,48}")
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
_HEAD_MAGIC = b"facehead" + struct.pack("<H", 2)
_HEAD = struct.Struct("<QQ32s32s")
_OLD_MAGIC = b"facehead" + struct.pack("<H", 1)  # without kept and open entries
_OLD_HEAD = struct.Struct("<QQ32s")
_NONCE_SIZE = 12
_SEALED_SIZE = len(_HEAD_MAGIC) + _NONCE_SIZE + _HEAD.size + crypto.TAG_SIZE
_OLD_SIZE = len(_OLD_MAGIC) + _NONCE_SIZE + _OLD_HEAD.size + crypto.TAG_SIZE
MAX_OPEN = 2  # entries that the head holds until they are written into the log
_DIGEST_SIZE = len(NO_DIGEST)
MAX_ATTEMPT_SIZE = _DIGEST_SIZE + MAX_LINE
MAX_HEAD_SIZE = _SEALED_SIZE + MAX_OPEN * (MAX_LINE + 1)


def check_labels(camera: str, policy: str) -> None:
    """InputError for what no entry can have as its camera or policy."""
    for name, value, pattern in (("camera", camera, _CAMERA), ("policy", policy, _POLICY)):
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InputError(
                f"{name} must be a short name for the audit log, at most 64 printable ASCII characters without"
                f" quotation marks and backslashes, not {value!r:.80}"
            )


class AuditEvent(Enum):
    """What an entry is about."""

    ENROLLED = "enrolled"
    REPLACED = "replaced"
    UPDATED = "updated"
    RENEWED = "renewed"
    REMOVED = "removed"
    UNLOCKED = "unlocked"
    PASSPHRASE_REFUSED = "passphrase_refused"
    LOCKED = "locked"
    PANIC = "panic"
    VERIFIED = "verified"
    LOCKED_OUT = "locked_out"
    REKEYED = "rekeyed"
    EXPORTED = "exported"
    IMPORTED = "imported"
    ROLLED_BACK = "rolled_back"
    LOG_RESTARTED = "log_restarted"
    LEARNED = "learned"
    UNLEARNED = "unlearned"
    ATTEMPTED = "attempted"  # a comparison that was paid for and never decided: killed, or overtaken by a lock


# What tells of somebody else, or of trouble: kept longest.
FAILURES = frozenset(
    {
        AuditEvent.PASSPHRASE_REFUSED, AuditEvent.LOCKED_OUT, AuditEvent.ROLLED_BACK, AuditEvent.LOG_RESTARTED,
        AuditEvent.ATTEMPTED, AuditEvent.PANIC, AuditEvent.REPLACED,
    }
)  # fmt: skip
PRESENCE_GAP_NS = 60 * 10**9  # matches with less between them are of one presence
PRESENCE_NS = 3600 * 10**9  # and an entry stands for this long at most


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the log, checked when made (InputError). There is no field for a score, an image or features.

    n: its number, from 0. time_unix_s: wall clock, for people; boot_ns: CLOCK_BOOTTIME. outcome: None where nothing was
    decided. prev: SHA-256 in hex of the line before, without its newline; zeros for the first. count: how many matches
    of one presence it stands for, the last of them at until_boot_ns; for one alone they are not written.
    """

    n: int
    time_unix_s: int
    boot_ns: int
    event: AuditEvent
    outcome: Decision | None
    camera: str
    policy: str
    prev: str
    count: int = 1
    until_boot_ns: int = 0

    def __post_init__(self) -> None:
        for name in ("n", "time_unix_s", "boot_ns", "count", "until_boot_ns"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= MAX_INTEGER:
                raise InputError(f"{name} must be an int within 0 and 2**63 - 1, not {value!r:.80}")
        ends = self.until_boot_ns == 0 if self.count == 1 else self.until_boot_ns >= self.boot_ns
        if self.count < 1 or not ends:
            raise InputError("an entry of several matches has their count and the time of the last one")
        if not isinstance(self.event, AuditEvent) or not isinstance(self.outcome, Decision | None):
            raise InputError(
                f"an AuditEvent and a Decision or None were expected, not {self.event!r:.80}, {self.outcome!r:.80}"
            )
        for name, pattern in (("camera", _CAMERA), ("policy", _POLICY), ("prev", _SHA256_HEX)):
            value = getattr(self, name)
            if not isinstance(value, str) or not pattern.fullmatch(value):
                raise InputError(f"{name} must match {pattern.pattern}, not {value!r:.80}")

    @property
    def is_failure(self) -> bool:
        """Whether this is what an owner would want to know of later."""
        return self.event in FAILURES or self.outcome not in (None, Decision.MATCH)

    def also(self, other: Entry) -> Entry | None:
        """This match and the next one as one entry, or None where they are not of one presence."""
        last_ns = max(self.until_boot_ns, self.boot_ns)
        same = (self.event, self.outcome, self.camera, self.policy) == (
            other.event, other.outcome, other.camera, other.policy
        )  # fmt: skip
        if not same or self.outcome is not Decision.MATCH:
            return None
        if not last_ns <= other.boot_ns <= min(last_ns + PRESENCE_GAP_NS, self.boot_ns + PRESENCE_NS):
            return None
        return replace(self, count=self.count + 1, until_boot_ns=other.boot_ns)

    def line(self) -> bytes:
        """The one encoding of this entry, without the newline; at most MAX_LINE bytes.

        JSON with sorted keys and no spaces; no field has a character that JSON would escape.
        """
        count = f'"count":{self.count},' if self.count > 1 else ""
        until = f',"until_boot_ns":{self.until_boot_ns}' if self.count > 1 else ""
        # Of a string of another class, what was checked: not what that makes of it.
        camera, policy, prev = (str.__str__(text) for text in (self.camera, self.policy, self.prev))
        return (
            f'{{"boot_ns":{self.boot_ns},"camera":"{camera}",{count}"event":"{self.event.value}","n":{self.n},'
            f'"outcome":"{self.outcome.value if self.outcome else ""}","policy":"{policy}","prev":"{prev}",'
            f'"time_unix_s":{self.time_unix_s}{until}}}'
        ).encode("ascii")

    def as_dict(self) -> dict[str, int | str]:
        """The fields as they stand in the log."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if self.count == 1:
            del fields["count"], fields["until_boot_ns"]
        return {**fields, "event": self.event.value, "outcome": self.outcome.value if self.outcome else ""}

    def as_text(self) -> str:
        """One line for a person, in local time."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.time_unix_s))
        outcome = f" {self.outcome.value}" if self.outcome else ""
        if self.count > 1:
            outcome += f" {self.count} times within {(self.until_boot_ns - self.boot_ns) // 10**9} s"
        return f"{self.n:6} {when} {self.event.value}{outcome} ({self.camera}{self.policy and ', '}{self.policy})"

    @staticmethod
    def parse(line: bytes) -> Entry | None:
        """The entry of a line; None when the line is not exactly what `line()` writes."""
        if len(line) > MAX_LINE:
            return None
        try:
            fields = json.loads(line)
            event, outcome = AuditEvent(fields.pop("event")), fields.pop("outcome")
            entry = Entry(event=event, outcome=None if outcome == "" else Decision(outcome), **fields)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None
        return entry if entry.line() == line else None


@dataclass(frozen=True)
class Head:
    """What is sealed of a log: first, the number of the oldest entry kept; count, of entries ever written; digest, the
    SHA-256 of the last line; kept, that of the file of older failures, zeros for none; open, entries that are not in
    the log yet, without number and prev: the matches of a presence that may go on, an attempt being decided. Checked
    when made (InputError)."""

    first: int
    count: int
    digest: bytes
    kept: bytes = NO_DIGEST
    open: tuple[Entry, ...] = ()

    def __post_init__(self) -> None:
        if type(self.first) is not int or type(self.count) is not int or not 0 <= self.first < self.count <= 2**63:
            raise InputError(f"a head needs 0 <= first < count, not {self.first!r:.80} and {self.count!r:.80}")
        for digest in (self.digest, self.kept):
            if type(digest) is not bytes or len(digest) != 32:
                raise InputError("a head's digest must have 32 bytes")
        if len(self.open) > MAX_OPEN:
            raise InputError(f"a head holds at most {MAX_OPEN} open entries, not {len(self.open)}")


def seal_head(key: Buffer, head: Head, *, user: str, entropy: Callable[[int], bytes] = os.urandom) -> bytes:
    """At most MAX_HEAD_SIZE bytes: magic, version, random nonce, AES-256-GCM of the head, then the open entries in
    clear, a line each; magic, version, user and open entries are the AAD.

    A key may seal 2**32 heads before two random nonces are likely enough to meet (NIST SP 800-38D, 8.3).
    """
    nonce = entropy(_NONCE_SIZE)
    plaintext = _HEAD.pack(head.first, head.count, head.digest, head.kept)
    lines = b"".join(entry.line() + b"\n" for entry in head.open)
    return _HEAD_MAGIC + nonce + crypto.seal(key, plaintext, nonce=nonce, aad=_head_aad(user) + lines) + lines


def open_head(key: Buffer, data: bytes, *, user: str) -> Head:
    """The head sealed under this key for this user; VaultIntegrityError for anything else."""
    entries = open_entries(data)
    if entries is None:
        raise VaultIntegrityError(f"the sealed head of the audit log is not one: {HINT}")
    old = data.startswith(_OLD_MAGIC)
    layout, size = (_OLD_HEAD, _OLD_SIZE) if old else (_HEAD, _SEALED_SIZE)
    start = len(_HEAD_MAGIC)
    nonce, sealed = data[start : start + _NONCE_SIZE], data[start + _NONCE_SIZE : size]
    aad = data[:start] + check_user(user).encode("ascii") + data[size:]
    try:
        with crypto.unseal(key, sealed, nonce=nonce, aad=aad) as plaintext:
            fields = layout.unpack(memoryview(plaintext))
        return Head(*fields, *(() if old else (entries,)))
    except (crypto.TagMismatchError, InputError) as error:
        raise VaultIntegrityError(
            f"the head of the audit log of {user!r} was altered or sealed by another key: {HINT}"
        ) from error


def open_entries(data: bytes) -> tuple[Entry, ...] | None:
    """The open entries in a sealed head, which only its key vouches for; None where this is no head."""
    if data.startswith(_OLD_MAGIC) and len(data) == _OLD_SIZE:
        return ()
    if not _SEALED_SIZE <= len(data) <= MAX_HEAD_SIZE or data[: len(_HEAD_MAGIC)] != _HEAD_MAGIC:
        return None
    *lines, rest = data[_SEALED_SIZE:].split(b"\n")
    entries = [Entry.parse(line) for line in lines]
    if rest or len(entries) > MAX_OPEN or None in entries:
        return None
    return tuple(entry for entry in entries if entry is not None)


def attempt_note(head: bytes, entry: Entry) -> bytes:
    """What is noted of an attempt before it is decided: the digest of the sealed head as it is then, and the entry.

    Once the head is another one, the attempt is decided, and the note says nothing any more.
    """
    return sha256(head) + entry.line()


def undecided(note: bytes, head: bytes) -> Entry | None:
    """The attempt of a note that nothing has decided, None for a note of an earlier head or what is no note."""
    return Entry.parse(note[_DIGEST_SIZE:]) if note[:_DIGEST_SIZE] == sha256(head) else None


def _head_aad(user: str) -> bytes:
    return _HEAD_MAGIC + check_user(user).encode("ascii")
