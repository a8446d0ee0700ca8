"""Record, what a vault keeps about one user, and the plaintext it becomes inside a sealed file."""

from __future__ import annotations

import itertools
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesdk.errors import InputError, StoreIntegrityError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_USER_LENGTH = 64
MAX_SAMPLES = 10
MAX_DIMENSION = 4096
MAX_MODELS = 16
MAX_CONSENT_LENGTH = 200
MAX_INTEGER = 2**63 - 1
# A mean that was normalised in float32 is off by about 1e-6 at 4096 dimensions.
UNIT_TOLERANCE = 1e-3

_USER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_EMBEDDER = re.compile(r"[!-~]{1,64}")
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
# dimension, samples, created_unix_s, generation, then the sizes in bytes of embedder, model ids (count) and consent
_PREFIX = struct.Struct("<IIQQBBH")


def check_user(user: str) -> str:
    """`user`, when it is a name a vault accepts: 1 to 64 of A-Z a-z 0-9 . _ - and no leading dot; else InputError."""
    if not isinstance(user, str) or not _USER.fullmatch(user):
        raise InputError(
            f"a user name must be 1 to {MAX_USER_LENGTH} of A-Z a-z 0-9 . _ - with no leading dot, not {user!r:.80}"
        )
    return user


@dataclass(frozen=True, repr=False, eq=False)
class Record:
    """What a vault keeps about one user, checked when made (InputError); the arrays are copies nobody can write to.

    references: float32 (d,), the mean of the features, of unit length. samples: float32 (n, d), each sample's features,
    1 <= n <= 10 and 1 <= d <= 4096. model_ids: SHA-256 of each model file, in hex. generation counts the changes of the
    reference. consent says how the person agreed. The repr shows no features.
    """

    user: str
    embedder: str
    model_ids: tuple[str, ...]
    references: npt.NDArray[np.float32]
    samples: npt.NDArray[np.float32]
    created_unix_s: int
    generation: int
    consent: str

    def __post_init__(self) -> None:
        check_user(self.user)
        if not isinstance(self.embedder, str) or not _EMBEDDER.fullmatch(self.embedder):
            raise InputError(f"embedder must be 1 to 64 printable ASCII characters, not {self.embedder!r:.80}")
        _check_model_ids(self.model_ids)
        for name in ("created_unix_s", "generation"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= MAX_INTEGER:
                raise InputError(f"{name} must be an int within 0 and 2**63 - 1, not {value!r:.80}")
        _check_consent(self.consent)
        _check_array(self.references, "references", ndim=1)
        _check_array(self.samples, "samples", ndim=2)
        _check_shapes(self.references, self.samples)
        object.__setattr__(self, "references", _frozen(self.references))
        object.__setattr__(self, "samples", _frozen(self.samples))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return self.user == other.user and payload_bytes(self) == payload_bytes(other)

    def __hash__(self) -> int:
        return hash((self.user, self.created_unix_s, self.generation))

    def __repr__(self) -> str:
        samples, dimension = self.samples.shape
        return (
            f"Record(user={self.user!r}, embedder={self.embedder!r}, samples={samples}, dimension={dimension}, "
            f"created_unix_s={self.created_unix_s}, generation={self.generation})"
        )


def _check_model_ids(model_ids: tuple[str, ...]) -> None:
    if not isinstance(model_ids, tuple) or not 1 <= len(model_ids) <= MAX_MODELS:
        raise InputError(f"model_ids must be a tuple of 1 to {MAX_MODELS} hashes, not {type(model_ids).__name__}")
    for model_id in model_ids:
        if not isinstance(model_id, str) or not _SHA256_HEX.fullmatch(model_id):
            raise InputError(f"a model id must be 64 lower-case hex digits, not {model_id!r:.80}")


def _check_consent(consent: str) -> None:
    # Printable only: the text is shown in terminals, where control characters can do harm.
    if not isinstance(consent, str) or not 1 <= len(consent) <= MAX_CONSENT_LENGTH or not consent.isprintable():
        raise InputError(f"consent must be 1 to {MAX_CONSENT_LENGTH} printable characters on one line")


def _check_array(array: npt.NDArray[np.float32], name: str, *, ndim: int) -> None:
    import numpy as np

    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != ndim:
        came = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"{name} must be a float32 array of {ndim} dimension(s), not {came}")
    if not np.isfinite(array).all():
        raise InputError(f"{name} has values that are not finite: they are not features")


def _check_shapes(references: npt.NDArray[np.float32], samples: npt.NDArray[np.float32]) -> None:
    import numpy as np

    count, dimension = samples.shape
    if not (1 <= count <= MAX_SAMPLES and 1 <= dimension <= MAX_DIMENSION and references.shape == (dimension,)):
        raise InputError(
            f"samples must be (1 to {MAX_SAMPLES}, d) and references (d,) with d within 1 and {MAX_DIMENSION},"
            f" not {samples.shape} and {references.shape}"
        )
    length = float(np.linalg.norm(references.astype(np.float64)))
    if abs(length - 1.0) > UNIT_TOLERANCE:
        raise InputError(f"references must have unit length, not {length:.6g}")


def _frozen(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A copy over immutable bytes, which even setflags(write=True) cannot make writeable."""
    import numpy as np

    return np.frombuffer(array.tobytes(), np.float32).reshape(array.shape)


def payload_bytes(record: Record) -> bytes:
    """The plaintext of a record: everything but the user, whose only place is the header."""
    count, dimension = record.samples.shape
    embedder, consent = record.embedder.encode("ascii"), record.consent.encode()
    prefix = _PREFIX.pack(
        dimension, count, record.created_unix_s, record.generation, len(embedder), len(record.model_ids), len(consent)
    )
    models = b"".join(bytes.fromhex(model_id) for model_id in record.model_ids)
    features = record.references.astype("<f4").tobytes() + record.samples.astype("<f4").tobytes()
    return prefix + embedder + models + consent + features


def parse_payload(payload: bytes, *, user: str) -> Record:
    """The record of a plaintext; StoreIntegrityError when it is not exactly what `payload_bytes` writes."""
    import numpy as np

    if len(payload) < _PREFIX.size:
        raise StoreIntegrityError(f"the sealed content has {len(payload)} bytes, at least {_PREFIX.size} were expected")
    dimension, count, created, generation, embedder_size, models, consent_size = _PREFIX.unpack_from(payload)
    ends = [_PREFIX.size]
    for size in (embedder_size, 32 * models, consent_size, 4 * dimension, 4 * dimension * count):
        ends.append(ends[-1] + size)
    if ends[-1] != len(payload):
        raise StoreIntegrityError(f"the sealed content has {len(payload)} bytes, its fields add up to {ends[-1]}")
    embedder, model_bytes, consent, references, samples = (
        payload[begin:end] for begin, end in itertools.pairwise(ends)
    )
    try:
        return Record(
            user=user,
            embedder=embedder.decode("ascii"),
            model_ids=tuple(model_bytes[32 * i : 32 * i + 32].hex() for i in range(models)),
            references=np.frombuffer(references, "<f4").astype(np.float32),
            samples=np.frombuffer(samples, "<f4").reshape(count, dimension).astype(np.float32),
            created_unix_s=created,
            generation=generation,
            consent=consent.decode(),
        )
    except ValueError as error:  # InputError and UnicodeDecodeError are both
        raise StoreIntegrityError(f"the sealed content is not a record: {error}") from error
