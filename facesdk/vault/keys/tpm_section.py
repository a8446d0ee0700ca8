"""The section that tpm.py describes, parsed from untrusted bytes and packed again."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from facesdk.errors import InputError
from facesdk.vault.keys.provider import SALT_SIZE, Kdf, KeyKind
from facesdk.vault.keys.tpm_errors import damaged

NV_INDICES = range(0x0180FA00, 0x0180FB00)
SIZE = 32
# TPMs take trailing zeros of an authorization value away, and libraries differ in when.
NOT_ZERO = 0x80
_HEAD = struct.Struct(f"<BIBB{SALT_SIZE}s3sI32s32s")
_VERSION = 1
_PRIVATE_SIZES = range(64, 513)


def item_public(policy: bytes, unique: bytes) -> bytes:
    """TPM2B_PUBLIC of a sealed object: fixedTPM, fixedParent, and userWithAuth or (with a policy) adminWithPolicy."""
    attributes = 0x92 if policy else 0x52
    area = (
        struct.pack(">HHIH", 8, 0xB, attributes, len(policy)) + policy + struct.pack(">HH", 0x10, len(unique)) + unique
    )
    return struct.pack(">H", len(area)) + area


@dataclass(frozen=True, repr=False)
class Section:
    """What a section says; `parse` makes it from untrusted bytes, so each value is within its bounds."""

    kdf: Kdf
    pcrs: tuple[int, ...]
    nv_index: int
    nv_auth: bytes
    parent: bytes
    public: bytes = b""
    private: bytes = b""

    @property
    def head(self) -> bytes:
        """The first 94 bytes, which the authorization value depends on."""
        k, mask = self.kdf, sum(1 << n for n in self.pcrs).to_bytes(3, "little")
        return _HEAD.pack(
            _VERSION, k.memory_kib, k.passes, k.lanes, k.salt, mask, self.nv_index, self.nv_auth, self.parent
        )

    @classmethod
    def parse(cls, data: bytes) -> Section:
        """The section in `data`, all of it. VaultIntegrityError."""
        if len(data) < _HEAD.size:
            raise damaged(f"{len(data)} bytes are too few")
        version, memory_kib, passes, lanes, salt, mask, index, auth, parent = _HEAD.unpack_from(data)
        pcrs = tuple(n for n in range(24) if int.from_bytes(mask, "little") >> n & 1)
        try:
            kdf = Kdf(KeyKind.TPM, salt, memory_kib=memory_kib, passes=passes, lanes=lanes)
        except InputError as error:
            raise damaged(str(error)) from None
        policy_size = SIZE if pcrs else 0
        end = _HEAD.size + len(item_public(bytes(policy_size), bytes(SIZE)))
        public, private = data[_HEAD.size : end], data[end + 2 :]
        canonical = item_public(public[12 : 12 + policy_size], public[-SIZE:])
        for wrong, what in (
            (version != _VERSION, "unknown version"),
            (bool(index) != any(auth) or (index != 0 and index not in NV_INDICES), "NV index out of range"),
            (public != canonical, "not the object that was sealed"),
            (len(private) not in _PRIVATE_SIZES or data[end : end + 2] != struct.pack(">H", len(private)), "size"),
        ):
            if wrong:
                raise damaged(what)
        return cls(kdf, pcrs, index, auth, parent, public, private)
