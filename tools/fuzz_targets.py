"""The formats that tools/fuzz_format.py attacks: genuine files of each, where their fields lie, and what opens them."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from facesdk._core import Secret
from facesdk.digest import sha256
from facesdk.errors import VaultIntegrityError
from facesdk.types import Decision
from facesdk.vault import crypto, format
from facesdk.vault import open_keys as open_keys_module
from facesdk.vault.attempts import Ready
from facesdk.vault.audit import entry as audit_entry
from facesdk.vault.keys import provider as keys
from facesdk.vault.keys.passphrase import PassphraseKey
from facesdk.vault.keys.provider import KeyKind
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.record import Record
from facesdk.vault.rules import PRESETS
from facesdk.vault.template import Template, pack

USER = "alice"
KEK = bytes(range(32))
COSTS = ((65536, 3, 1), (19456, 2, 4))

# Field names and sizes, as docs/vault-format.md and docs/audit-log.md have them; None: the rest.
Layout = tuple[tuple[str, "int | None"], ...]
HEADER: Layout = (("magic", 8), ("version", 2), ("kind", 1), ("user_length", 1), ("user", 64))
WRAP: Layout = (("wrap_nonce", 12), ("wrapped", 48), ("payload_nonce", 12), ("payload_size", 4), ("checksum", 32))
COST: Layout = (("memory", 4), ("passes", 4), ("lanes", 4), ("salt", 16))
SECTION: Layout = (*COST, ("check", 32), ("nonce", 12), ("wrapped", 48))
HEAD: Layout = (("magic", 8), ("version", 2), ("nonce", 12), ("sealed", 80), ("tag", 16), ("open", None))
HEAD_CONTENT: Layout = (("first", 8), ("count", 8), ("digest", 32), ("kept", 32))
WORDS: Layout = tuple((f"word{i}", 8) for i in range(8))
RULES: Layout = tuple((f"rule{i}", 8) for i in range(5))
OPEN_KEY: Layout = (*WORDS, ("digest", 32), *RULES, ("kek", 32))
SIZES: Layout = (("dimension", 4), ("count", 4), ("created", 8), ("generation", 8), ("embedder_size", 1), ("models", 1),
                 ("consent_size", 2))  # fmt: skip


def _v2(section: int) -> Layout:
    return (*HEADER, ("section_size", 2), ("section", section), ("key_id", 8), *WRAP, ("payload", None))


def _payload(dimension: int, count: int, embedder: int) -> Layout:
    return (*SIZES, ("salt", 32), ("policy_size", 4), ("reference", 4 * dimension), ("samples", 4 * dimension * count),
            ("embedder", embedder), ("models", 32), ("consent", None))  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A genuine file and where its fields lie."""

    data: bytes
    fields: tuple[tuple[int, int], ...]

    @staticmethod
    def of(data: bytes, layout: Layout) -> Sample:
        """ValueError when the layout is not that of the data."""
        fields, at = [], 0
        for _, size in layout:
            fields.append((at, len(data) if size is None else at + size))
            at = fields[-1][1]
        if at != len(data):
            raise ValueError(f"the layout has {at} bytes, the file {len(data)}")
        return Sample(data, tuple(fields))


@dataclass(frozen=True)
class Target:
    """What is attacked. open raises one of NAMED for what it refuses. checksum_at: of these bytes, where there is one.

    sealed: makes mutated content into a file, under the right keys; then well-formed files may open.
    """

    name: str
    samples: tuple[Sample, ...]
    open: Callable[[bytes], None]
    checksum_at: Callable[[bytes], int] | None = None
    sealed: Callable[[bytes], bytes] | None = None
    by_key: bool = False


# --- the targets


def _record(dimension: int, count: int, embedder: str = "joint") -> Record:
    samples = np.random.default_rng(dimension).standard_normal((count, dimension)).astype(np.float32)
    samples /= np.linalg.norm(samples, axis=1, keepdims=True)
    return Record(USER, embedder, ("ab" * 32,), samples[0].copy(), samples, 1_700_000_000, "pressed “I agree”")


def _open_v2(data: bytes) -> None:
    with Template(format.unseal(data, KEK, user=USER), KEK, user=USER) as template:
        _check_template(template)


def _check_template(template: Template) -> None:
    """ValueError when a template came out that no record may be."""
    dimension, reference = template.dimension, template.reference
    good = 1 <= dimension <= 4096 and 1 <= template.count <= 10 and reference.shape == (dimension,)
    if not good or not 0 < math.sqrt(np.dot(reference, reference)) < 1.01 or template.generation >= 2**63:
        raise ValueError("a template came out that is not a record")


class RawPassphrase(PassphraseKey):
    """Derives at no cost."""

    def derive(self, kdf: keys.Kdf) -> Secret:
        """The bytes that every salt and cost gives here."""
        return Secret.of(bytes(range(64)))


def _open_key(data: bytes) -> None:
    if len(data) != open_keys_module.LAYOUT.size:  # keyring_get gives no other size to the parser
        raise VaultIntegrityError("another size")
    with Secret.of(data) as memory:
        open_keys_module.unpacked(memory, 0).kek.close()


def _sealed_v2(payload: bytes, entropy: Callable[[int], bytes], section: bytes = bytes(120)) -> bytes:
    return format.seal(payload, KEK, user=USER, kind=KeyKind.PASSPHRASE, section=section, entropy=entropy)


def _resealed_header(mutated: bytes, payload: bytes) -> bytes:
    """A version 2 file with this header up to the section's end, and all behind it made to fit."""
    size = int.from_bytes(mutated[76:78], "little")
    prefix = mutated[: 78 + size] + format.key_id(KEK)
    data_key = bytes(32)
    wrapped = crypto.seal(KEK, data_key, nonce=bytes(12), aad=prefix)
    checked = prefix + bytes(12) + wrapped + bytes(12) + struct.pack("<I", len(payload) + crypto.TAG_SIZE)
    header = checked + sha256(checked)
    return header + crypto.seal(data_key, payload, nonce=bytes(12), aad=header)


def _checksum_v2(data: bytes) -> int:
    return 78 + int.from_bytes(data[76:78], "little") + 84


def targets() -> tuple[Target, ...]:
    """Every target with genuine samples; each sample opens."""
    entropy = random.Random("keys").randbytes
    shapes = ((4, 2, "joint"), (4, 2, "joint"), (1, 1, "e"), (128, 3, "mobilefacenet"))
    payloads = [bytes(memoryview(pack(_record(*s), KEK, generation=g, entropy=entropy))) for g, s in enumerate(shapes)]
    parts = tuple(Sample.of(p, _payload(*s[:2], len(s[2]))) for p, s in zip(payloads, shapes, strict=True))
    sections = (bytes(range(120)), bytes(range(1, 121)), b"\1", bytes(4096))
    files = tuple(
        Sample.of(_sealed_v2(p, entropy, s), _v2(len(s))) for p, s in zip(payloads, sections, strict=True)
    )  # fmt: skip
    headers = tuple(Sample.of(f.data[: 78 + len(s)], (*HEADER, ("section_size", 2), ("section", None)))
                    for f, s in zip(files, sections, strict=True))  # fmt: skip
    contents = [struct.pack("<QQ32s32s", first, 9, bytes(32), kept) for first, kept in ((0, bytes(32)), (3, b"k" * 32))]
    waiting = audit_entry.Entry(
        n=0, time_unix_s=1, boot_ns=2, event=audit_entry.AuditEvent.VERIFIED, outcome=Decision.MATCH, camera="c",
        policy="p", prev="0" * 64, count=3, until_boot_ns=9,
    )  # fmt: skip
    sealed_heads = [audit_entry.Head(0, 9, bytes(32)), audit_entry.Head(3, 9, bytes(32), b"k" * 32, (waiting,) * 2)]
    heads = tuple(
        Sample.of(audit_entry.seal_head(KEK, head, user=USER, entropy=entropy), HEAD) for head in sealed_heads
    )

    def head_of(content: bytes) -> bytes:
        aad = heads[0].data[:10] + USER.encode()
        return heads[0].data[:10] + bytes(12) + crypto.seal(KEK, content, nonce=bytes(12), aad=aad)

    def open_head(data: bytes) -> None:
        audit_entry.open_head(KEK, data, user=USER)

    return (
        Target("file", files, _open_v2, _checksum_v2),
        Target("section", _section_samples(entropy), _open_section),
        Target("audit head", heads, open_head),
        Target("key: payload", parts, _open_v2, sealed=lambda p: _sealed_v2(p, entropy), by_key=True),
        Target("key: header", headers, _open_v2, sealed=lambda h: _resealed_header(h, payloads[0]), by_key=True),
        Target("key: audit head", tuple(Sample.of(c, HEAD_CONTENT) for c in contents), open_head, sealed=head_of,
               by_key=True),
        Target("key: open key", _open_key_samples(), _open_key, by_key=True),
    )  # fmt: skip


def _section_samples(entropy: Callable[[int], bytes]) -> tuple[Sample, ...]:
    sections = []
    for setting in COSTS:
        cost = struct.pack("<III16s", *setting, entropy(16))
        with Secret.of(bytes(range(64))) as derived:
            sections.append(cost + keys.seal_envelope(derived, KEK, aad=b"binding" + cost, nonce=entropy(12)))
    return tuple(Sample.of(s, SECTION) for s in sections)


def _open_section(data: bytes) -> None:
    RawPassphrase("raw", passes=3).unwrap(data, binding=b"binding").close()


def _open_key_samples() -> tuple[Sample, ...]:
    made = []
    for number, rules in enumerate(PRESETS.values(), 1):
        state = Ready(opened_ns=number, active_ns=2 * number, failures=number, not_before_ns=0)
        held = OpenKey(Secret.of(KEK), state, number, audit_entry.Head(0, number, bytes(32)), rules)
        made.append(Sample.of(bytes(memoryview(open_keys_module.packed(held))), OPEN_KEY))
    return tuple(made)
