"""What an audit log is made of: its entries, one line each, and the sealed head that vouches for them."""

from __future__ import annotations

import json
import os
import re
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from facesdk.errors import InputError, StoreIntegrityError
from facesdk.types import Decision
from facesdk.vault import crypto
from facesdk.vault.record import MAX_INTEGER, check_user

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_LINE = 512
NO_DIGEST = bytes(32)  # in place of the line before the first
HINT = "`facesdk audit --verify` shows where; `facesdk audit --restart` with the passphrase begins a new log"

_CAMERA = re.compile(r"[ !#-\[\]-~]{1,64}")  # printable ASCII that JSON does not escape
_POLICY = re.compile(r"[ !#-\[\]-~]{0,48}")
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
_HEAD_MAGIC = b"facehead" + struct.pack("<H", 1)
_HEAD = struct.Struct("<QQ32s")
_NONCE_SIZE = 12
HEAD_SIZE = len(_HEAD_MAGIC) + _NONCE_SIZE + _HEAD.size + crypto.TAG_SIZE


class Event(Enum):
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


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the log, checked when made (InputError). There is no field for a score, an image or features.

    n: its number, from 0. time_unix_s: wall clock, for people; boot_ns: CLOCK_BOOTTIME. outcome: None where nothing was
    decided. prev: SHA-256 in hex of the line before, without its newline; zeros for the first.
    """

    n: int
    time_unix_s: int
    boot_ns: int
    event: Event
    outcome: Decision | None
    camera: str
    policy: str
    prev: str

    def __post_init__(self) -> None:
        for name in ("n", "time_unix_s", "boot_ns"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= MAX_INTEGER:
                raise InputError(f"{name} must be an int within 0 and 2**63 - 1, not {value!r:.80}")
        if not isinstance(self.event, Event) or not isinstance(self.outcome, Decision | None):
            raise InputError(
                f"an Event and a Decision or None were expected, not {self.event!r:.80}, {self.outcome!r:.80}"
            )
        for name, pattern in (("camera", _CAMERA), ("policy", _POLICY), ("prev", _SHA256_HEX)):
            value = getattr(self, name)
            if not isinstance(value, str) or not pattern.fullmatch(value):
                raise InputError(f"{name} must match {pattern.pattern}, not {value!r:.80}")

    def line(self) -> bytes:
        """The one encoding of this entry, without the newline; at most MAX_LINE bytes."""
        return json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":")).encode("ascii")

    def as_dict(self) -> dict[str, int | str]:
        """The fields as they stand in the log."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "event": self.event.value, "outcome": self.outcome.value if self.outcome else ""}

    def as_text(self) -> str:
        """One line for a person, in local time."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.time_unix_s))
        outcome = f" {self.outcome.value}" if self.outcome else ""
        return f"{self.n:6} {when} {self.event.value}{outcome} ({self.camera}{self.policy and ', '}{self.policy})"

    @staticmethod
    def parse(line: bytes) -> Entry | None:
        """The entry of a line; None when the line is not exactly what `line()` writes."""
        if len(line) > MAX_LINE:
            return None
        try:
            fields = json.loads(line)
            event, outcome = Event(fields.pop("event")), fields.pop("outcome")
            entry = Entry(event=event, outcome=None if outcome == "" else Decision(outcome), **fields)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None
        return entry if entry.line() == line else None


@dataclass(frozen=True)
class Head:
    """What is sealed of a log: first, the number of the oldest entry kept; count, of entries ever written; digest, the
    SHA-256 of the last line. Checked when made (InputError)."""

    first: int
    count: int
    digest: bytes

    def __post_init__(self) -> None:
        if type(self.first) is not int or type(self.count) is not int or not 0 <= self.first < self.count <= 2**63:
            raise InputError(f"a head needs 0 <= first < count, not {self.first!r:.80} and {self.count!r:.80}")
        if type(self.digest) is not bytes or len(self.digest) != 32:
            raise InputError("a head's digest must have 32 bytes")


def seal_head(key: Buffer, head: Head, *, user: str, entropy: Callable[[int], bytes] = os.urandom) -> bytes:
    """HEAD_SIZE bytes: magic, version, random nonce, AES-256-GCM of the head; magic, version and user are the AAD.

    A key may seal 2**32 heads before two random nonces are likely enough to meet (NIST SP 800-38D, 8.3).
    """
    nonce = entropy(_NONCE_SIZE)
    plaintext = _HEAD.pack(head.first, head.count, head.digest)
    return _HEAD_MAGIC + nonce + crypto.seal(key, plaintext, nonce=nonce, aad=_head_aad(user))


def open_head(key: Buffer, data: bytes, *, user: str) -> Head:
    """The head sealed under this key for this user; StoreIntegrityError for anything else."""
    if len(data) != HEAD_SIZE or data[: len(_HEAD_MAGIC)] != _HEAD_MAGIC:
        raise StoreIntegrityError(f"the sealed head of the audit log is not one: {HINT}")
    nonce, sealed = data[len(_HEAD_MAGIC) :][:_NONCE_SIZE], data[len(_HEAD_MAGIC) + _NONCE_SIZE :]
    try:
        plaintext = crypto.unseal(key, sealed, nonce=nonce, aad=_head_aad(user))
        return Head(*_HEAD.unpack(plaintext))
    except (crypto.TagMismatchError, InputError) as error:
        raise StoreIntegrityError(
            f"the head of the audit log of {user!r} was altered or sealed by another key: {HINT}"
        ) from error


def _head_aad(user: str) -> bytes:
    return _HEAD_MAGIC + check_user(user).encode("ascii")
