"""What was learned since an enrollment: samples in a sealed file of their own, beside a template that stays as it is.

Its key follows from the KEK and the salt of the template's rotation. An enrollment, renew and unlearn take a new salt,
and leave every earlier file of learned samples without use, copies that are put back included; a new passphrase keeps
both. docs/vault-format.md has the bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesdk._core import Secret
from facesdk.errors import InputError, VaultIntegrityError
from facesdk.vault import crypto
from facesdk.vault.keys.provider import KEY_SIZE, NONCE_SIZE
from facesdk.vault.record import (
    MAX_DIMENSION,
    MAX_EMBEDDER_LENGTH,
    MAX_MODELS,
    MAX_SAMPLES,
    check_models,
    check_user,
    check_whole,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer

MAX_SETS = 2  # of the template's own embedder, and of one that it moves to
_MAGIC = b"facelrnd" + struct.pack("<H", 1)
_INFO = b"facesdk 2 learned"
_PREFIX = struct.Struct("<II")  # number of sets, zero
_SET = struct.Struct("<IIHBBI")  # dimension, samples, size of embedder, number of models, complete, zero
_TIME = struct.Struct("<Q")
_LARGEST_SET = _SET.size + MAX_SAMPLES * (4 * MAX_DIMENSION + _TIME.size) + MAX_EMBEDDER_LENGTH + 32 * MAX_MODELS
MAX_LEARNED_SIZE = len(_MAGIC) + NONCE_SIZE + _PREFIX.size + MAX_SETS * _LARGEST_SET + crypto.TAG_SIZE


@dataclass(frozen=True, repr=False, eq=False)
class SampleSet:
    """Samples of one embedder, checked when made (InputError).

    times_unix_s: when each was taken. vectors: float32 (n, d), turned as the template's samples are; 1 <= n <= 10.
    complete: they may take the template's place at the next passphrase (of another embedder alone).
    """

    embedder: str
    model_ids: tuple[str, ...]
    times_unix_s: tuple[int, ...]
    vectors: npt.NDArray[np.float32]
    complete: bool = False

    def __post_init__(self) -> None:
        import numpy as np

        check_models(self.embedder, self.model_ids)
        for time_unix_s in self.times_unix_s:
            check_whole(time_unix_s, "times_unix_s")
        vectors = self.vectors
        if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32 or vectors.ndim != 2:
            raise InputError("learned vectors must be a float32 array of two dimensions")
        count, dimension = vectors.shape
        if not (1 <= count <= MAX_SAMPLES and 1 <= dimension <= MAX_DIMENSION and count == len(self.times_unix_s)):
            raise InputError(f"1 to {MAX_SAMPLES} learned vectors with a time each were expected, not {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise InputError("learned vectors have values that are not finite: they are not features")

    def __repr__(self) -> str:
        return f"SampleSet(embedder={self.embedder!r}, samples={len(self.times_unix_s)}, complete={self.complete})"


class Learned:
    """The sets of an opened file; their vectors lie in locked memory, which close() wipes. Without one: empty.

    problem: what is wrong with the file, which is then of no use; None where nothing is.
    """

    def __init__(
        self, sets: Sequence[SampleSet] = (), memory: Secret | None = None, problem: str | None = None
    ) -> None:
        self.sets, self.problem = tuple(sets), problem
        self._memory = memory

    def of(self, embedder: str, model_ids: tuple[str, ...]) -> SampleSet | None:
        """The set of this embedder and these models."""
        return next((s for s in self.sets if (s.embedder, s.model_ids) == (embedder, model_ids)), None)

    def close(self) -> None:
        """Wipes the vectors."""
        if self._memory is not None:
            self._memory.close()
        self.sets, self._memory = (), None  # as in Template.close


def seal_learned(
    kek: Buffer, sets: Sequence[SampleSet], *, user: str, salt: bytes,
    entropy: Callable[[int], bytes] = os.urandom,
) -> bytes:  # fmt: skip
    """Magic, version, random nonce, then AES-256-GCM of the sets; magic, version and user are the AAD.

    salt: of the template's rotation. InputError for no sets, too many, or two of the same models.
    """
    if not 1 <= len(sets) <= MAX_SETS or len({(one.embedder, one.model_ids) for one in sets}) != len(sets):
        raise InputError(f"1 to {MAX_SETS} sets of learned samples of different models were expected, not {sets!r}")
    plain = _PREFIX.pack(len(sets), 0)
    texts = b""
    for one in sets:
        embedder = one.embedder.encode("ascii")
        count, dimension = one.vectors.shape
        plain += _SET.pack(dimension, count, len(embedder), len(one.model_ids), one.complete, 0)
        texts += b"".join(map(_TIME.pack, one.times_unix_s)) + embedder + b"".join(map(bytes.fromhex, one.model_ids))
    floats = sum(one.vectors.size for one in sets)
    with Secret(len(plain) + 4 * floats + len(texts)) as memory, _key(kek, salt) as key:
        view = memoryview(memory)
        view[: len(plain)], view[len(view) - len(texts) :] = plain, texts
        _fill(view[len(plain) : len(view) - len(texts)], [one.vectors for one in sets])
        nonce = entropy(NONCE_SIZE)
        return _MAGIC + nonce + crypto.seal(key, memory, nonce=nonce, aad=_aad(user))


def open_learned(kek: Buffer, data: bytes, *, user: str, salt: bytes) -> Learned:
    """The sets sealed under this KEK for this user's template, whose rotation has this salt. VaultIntegrityError."""
    start = len(_MAGIC) + NONCE_SIZE
    if not data.startswith(_MAGIC) or len(data) <= start + crypto.TAG_SIZE:
        raise VaultIntegrityError("the file of learned samples is not one")
    try:
        with _key(kek, salt) as key:
            memory = crypto.unseal(key, data[start:], nonce=data[len(_MAGIC) : start], aad=_aad(user))
    except crypto.TagMismatchError as error:
        raise VaultIntegrityError("what was learned is of an earlier template, or was altered") from error
    try:
        return Learned(_parse(memory), memory)
    except BaseException:
        memory.close()
        raise


def _parse(memory: Secret) -> list[SampleSet]:
    import numpy as np

    view = memoryview(memory)
    try:
        count, zero = _PREFIX.unpack_from(view)
        if not 1 <= count <= MAX_SETS or zero:
            raise InputError(f"{count} sets")
        heads = [_SET.unpack_from(view, _PREFIX.size + i * _SET.size) for i in range(count)]
        floats = _PREFIX.size + count * _SET.size
        texts = floats + 4 * sum(head[0] * head[1] for head in heads)
        sets = []
        for dimension, samples, embedder_size, models, complete, rest in heads:
            if rest or complete > 1:
                raise InputError("a set out of bounds")
            flat: npt.NDArray[np.float32] = np.frombuffer(view, "<f4", samples * dimension, floats)
            times = tuple(_TIME.unpack_from(view, texts + 8 * i)[0] for i in range(samples))
            ids = texts + 8 * samples + embedder_size
            embedder = bytes(view[texts + 8 * samples : ids]).decode("ascii")
            model_ids = tuple(bytes(view[ids + 32 * i : ids + 32 * i + 32]).hex() for i in range(models))
            sets.append(SampleSet(embedder, model_ids, times, flat.reshape(samples, dimension), bool(complete)))
            floats, texts = floats + 4 * samples * dimension, ids + 32 * models
        if texts != len(view) or len({(s.embedder, s.model_ids) for s in sets}) != count:
            raise InputError("its fields do not add up")
    except (ValueError, struct.error) as error:  # InputError and UnicodeDecodeError are ValueErrors
        raise VaultIntegrityError(f"the file of learned samples is not one that is written ({error})") from error
    return sets


def _fill(view: memoryview, vectors: Sequence[npt.NDArray[np.float32]]) -> None:
    import numpy as np

    flat: npt.NDArray[np.float32] = np.frombuffer(view, np.float32)
    at = 0
    for one in vectors:
        flat[at : at + one.size] = one.reshape(-1)
        at += one.size


def _key(kek: Buffer, salt: bytes) -> Secret:
    return crypto.hkdf_sha256(kek, salt, info=_INFO, size=KEY_SIZE)


def _aad(user: str) -> bytes:
    return _MAGIC + check_user(user).encode("ascii")
