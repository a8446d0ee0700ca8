"""Template: the opened payload of a sealed file, its features turned by a rotation of its key."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from facesdk import _core
from facesdk._core import Secret
from facesdk.errors import InputError, VaultIntegrityError
from facesdk.vault import crypto
from facesdk.vault.format import opened
from facesdk.vault.record import Record, check_whole

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer

    from facesdk.vault.learned import Learned

ROTATION_SALT_SIZE = 32


# dimension, samples, created_unix_s, generation, sizes in bytes of embedder, model ids (count) and consent, rotation
# salt, size of policy; a multiple of 16, so that the floats behind it are aligned
_PREFIX = struct.Struct(f"<IIQQBBH{ROTATION_SALT_SIZE}sI")


_ROTATION_INFO = b"facesdk 2 rotation"


class _Gone:
    """In the place of a payload that was wiped."""

    closed = True

    def close(self) -> None:
        """Nothing is left to be wiped."""


_GONE = cast("Secret", _Gone())


class Template:
    """An opened record. Its features lie turned in locked memory, which close() wipes; nothing copies them out.

    user, embedder, model_ids, created_unix_s, generation, consent, policy, count (samples), dimension: as sealed.
    generation counts the writes of the file. salt: of the rotation, new whenever the features are turned. learned: what
    was learned since the enrollment, None where that was not asked for. sealed, key_id: the bytes of the file and the
    id of its key, where `opened` made it. ticket: of the opening whose key that was, 0 where it is not known.
    """

    sealed = key_id = b""
    ticket = 0

    def __init__(self, payload: Secret, kek: Buffer, *, user: str) -> None:
        """Takes over the payload of a sealed file; VaultIntegrityError when it is not exactly what `pack` writes."""
        self._payload = payload
        self._seed: Secret | None = None
        self.learned: Learned | None = None
        self.user = user
        try:
            self._parse()
            self._seed = _rotation_seed(kek, self.salt)
        except BaseException:
            self.close()
            raise

    def _view(self) -> memoryview:
        """The payload's memory. BufferError once it is closed."""
        if self._payload.closed:
            raise BufferError("this template was closed")
        return memoryview(self._payload)

    def _parse(self) -> None:
        view = self._view()
        if len(view) < _PREFIX.size:
            raise VaultIntegrityError(
                f"the sealed content has {len(view)} bytes, at least {_PREFIX.size} were expected"
            )
        (self.dimension, self.count, self.created_unix_s, self.generation, embedder_size, models, consent_size,
         self.salt, policy_size) = _PREFIX.unpack_from(view)  # fmt: skip
        ends = [_PREFIX.size]
        floats = 4 * self.dimension
        for size in (floats, floats * self.count, embedder_size, 32 * models, consent_size, policy_size):
            ends.append(ends[-1] + size)
        if ends[-1] != len(view):
            raise VaultIntegrityError(f"the sealed content has {len(view)} bytes, its fields add up to {ends[-1]}")
        texts = [bytes(view[begin:end]) for begin, end in itertools.pairwise(ends[2:])]
        self.model_ids = tuple(texts[1][32 * i : 32 * i + 32].hex() for i in range(models))
        try:
            self.embedder, self.consent, self.policy = texts[0].decode("ascii"), texts[2].decode(), texts[3].decode()
            check_whole(self.generation, "generation")
            Record(self.user, self.embedder, self.model_ids, self.reference, self.samples, self.created_unix_s,
                   self.consent, self.policy)  # fmt: skip
        except ValueError as error:  # InputError and UnicodeDecodeError are both
            raise VaultIntegrityError(f"the sealed content is not a record: {error}") from error

    @classmethod
    def opened(cls, sealed: bytes, kek: Buffer, *, user: str) -> Template:
        """The template of a sealed file. Errors of format.unseal."""
        header, payload = opened(sealed, kek, user=user)
        template = cls(payload, kek, user=user)
        template.sealed, template.key_id = sealed, header.key_id
        return template

    def is_of(self, sealed: bytes, ticket: int) -> bool:
        """Whether this was opened from these bytes with the key of this opening, and is open."""
        open_here = self._seed is not None and not self._payload.closed
        return open_here and self.sealed == sealed and self.ticket == ticket != 0

    @property
    def reference(self) -> npt.NDArray[np.float32]:
        """float32 (d,), the samples' shortened mean, turned: a view of the locked memory."""
        import numpy as np

        return np.frombuffer(self._view(), "<f4", self.dimension, _PREFIX.size)

    @property
    def samples(self) -> npt.NDArray[np.float32]:
        """float32 (count, d), what probes are compared with, turned: a view of the locked memory."""
        import numpy as np

        start = _PREFIX.size + 4 * self.dimension
        flat: npt.NDArray[np.float32] = np.frombuffer(self._view(), "<f4", self.dimension * self.count, start)
        return flat.reshape(self.count, self.dimension)

    def turned(
        self, vectors: Sequence[npt.NDArray[np.float32]], *, dimension: int | None = None, inverse: bool = False
    ) -> list[npt.NDArray[np.float32]]:
        """Probes (d,) turned as the reference is, to be compared with it; in locked memory of their own.

        dimension: of another embedder's features, which are turned by a rotation of their own. inverse: turned back.
        InputError for features of another dimension than the reference's, or than that.
        """
        dimension = self.dimension if dimension is None else dimension
        if not vectors or any(v.shape != (dimension,) for v in vectors):
            raise InputError(f"one or more vectors of {dimension} features were expected: they are of another embedder")
        memory, matrix = in_locked_memory(vectors)
        with self._stream(dimension) as stream:
            _core.rotate(stream, memory, dimension, inverse=inverse)
        return list(matrix)

    def _stream(self, dimension: int) -> Secret:
        if self._seed is None:
            raise InputError("this template was closed")
        return _rotation_stream(self._seed, dimension)

    def repacked(self, kek: Buffer, *, generation: int, entropy: Callable[[int], bytes] = os.urandom) -> Secret:
        """The payload of the same record turned anew for another KEK: what was sealed before cannot be linked to it."""
        fresh = Secret.of(self._view())
        try:
            view = memoryview(fresh)
            features = view[_PREFIX.size : _PREFIX.size + 4 * self.dimension * (1 + self.count)]
            with self._stream(self.dimension) as stream:
                _core.rotate(stream, features, self.dimension, inverse=True)
            salt = entropy(ROTATION_SALT_SIZE)
            _turn(features, kek, salt, self.dimension)
            _write_prefix(view, generation=generation, salt=salt)
        except BaseException:
            fresh.close()
            raise
        return fresh

    def with_generation(self, generation: int) -> Secret:
        """The payload of the same record, under the same KEK, as the write with this number."""
        fresh = Secret.of(self._view())
        _write_prefix(memoryview(fresh), generation=generation, salt=self.salt)
        return fresh

    def close(self) -> None:
        """Wipes the features and the rotation."""
        if self.learned is not None:
            self.learned.close()
        self._payload.close()
        if self._seed is not None:
            self._seed.close()
        # Not held any longer: whoever keeps an exception keeps this object, and its memory would stay locked.
        self._payload, self._seed = _GONE, None

    def __enter__(self) -> Template:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Template(user={self.user!r}, embedder={self.embedder!r}, generation={self.generation})"


def in_locked_memory(vectors: Sequence[npt.NDArray[np.float32]]) -> tuple[Secret, npt.NDArray[np.float32]]:
    """A copy of vectors (d,) in locked memory, wiped with the last view of it; and as float32 (n, d)."""
    import numpy as np

    memory = Secret(4 * sum(len(vector) for vector in vectors))
    matrix = np.frombuffer(memoryview(memory), np.float32).reshape(len(vectors), -1)
    for row, vector in zip(matrix, vectors, strict=True):
        row[:] = vector
    return memory, matrix


def _rotation_seed(kek: Buffer, salt: bytes) -> Secret:
    return crypto.hkdf_sha256(kek, salt, info=_ROTATION_INFO, size=32)


def _rotation_stream(seed: Secret, dimension: int) -> Secret:
    """The random stream that a record's rotation follows from (native/core/rotation.h)."""
    return crypto.chacha20_stream(seed, _core.rotation_stream_size(dimension))


def _turn(features: Buffer, kek: Buffer, salt: bytes, dimension: int) -> None:
    """Turns float32 vectors in place, by the rotation of this KEK and salt."""
    with _rotation_seed(kek, salt) as seed, _rotation_stream(seed, dimension) as stream:
        _core.rotate(stream, features, dimension)


def _write_prefix(payload: memoryview, *, generation: int, salt: bytes) -> None:
    fields = list(_PREFIX.unpack_from(payload))
    fields[3], fields[7] = generation, salt
    _PREFIX.pack_into(payload, 0, *fields)


def pack(record: Record, kek: Buffer, *, generation: int, entropy: Callable[[int], bytes] = os.urandom) -> Secret:
    """The plaintext of a record with its features turned: everything but the user, whose only place is the header."""
    import numpy as np

    check_whole(generation, "generation")
    count, dimension = record.samples.shape
    embedder, consent = record.embedder.encode("ascii"), record.consent.encode()
    policy = record.policy.encode("ascii")
    texts = embedder + b"".join(bytes.fromhex(model_id) for model_id in record.model_ids) + consent + policy
    salt = entropy(ROTATION_SALT_SIZE)
    features = _PREFIX.size + 4 * dimension * (1 + count)
    payload = Secret(features + len(texts))
    view = memoryview(payload)
    sizes = len(embedder), len(record.model_ids), len(consent)
    _PREFIX.pack_into(view, 0, dimension, count, record.created_unix_s, generation, *sizes, salt, len(policy))
    view[features:] = texts
    floats = np.frombuffer(view[_PREFIX.size : features], np.float32).reshape(1 + count, dimension)
    floats[0], floats[1:] = record.reference, record.samples
    _turn(view[_PREFIX.size : features], kek, salt, dimension)
    return payload
