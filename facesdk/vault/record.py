"""Record, what is enrolled, and Template, the same once it was sealed and opened: in locked memory, turned.

Before sealing, the features are turned by a rotation that follows from the KEK and a salt of the enrollment. All
comparison scores stay; without the key, two enrollments of a person have no more in common than those of two people.
Lengths and the angles within one enrollment stay too: the same enrollment, renewed or exported, can be told by them,
and two enrollments of several samples each can be linked a little (benchmarks/template_protection.py).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from facesdk.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


MAX_USER_LENGTH = 64
MAX_SAMPLES = 10
MAX_DIMENSION = 4096
MAX_MODELS = 16
MAX_EMBEDDER_LENGTH = 64
MAX_CONSENT_LENGTH = 200
MAX_POLICY_SIZE = 2000
MAX_INTEGER = 2**63 - 1
# A unit vector that was normalised in float32 is off by about 1e-6 at 4096 dimensions.
UNIT_TOLERANCE = 1e-3

_USER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_EMBEDDER = re.compile(rf"[!-~]{{1,{MAX_EMBEDDER_LENGTH}}}")
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")


def check_user(user: str) -> str:
    """`user`, when it is a name a vault accepts: 1 to 64 of A-Z a-z 0-9 . _ - and no leading dot; else InputError."""
    if not isinstance(user, str) or not _USER.fullmatch(user):
        raise InputError(
            f"a user name must be 1 to {MAX_USER_LENGTH} of A-Z a-z 0-9 . _ - with no leading dot, not {user!r:.80}"
        )
    return user


@dataclass(frozen=True, repr=False, eq=False)
class Record:
    """What an enrollment makes, checked when made (InputError). The repr shows no features.

    samples: float32 (n, d), each sample's features, what probes are compared with; 1 <= n <= 10 and 1 <= d <= 4096.
    reference: float32 (d,), their shortened mean, of a length over 0 and at most 1. model_ids: SHA-256 of each model
    file, in hex. consent says how the person agreed. policy: what a verification must meet at least, as facesdk.policy
    writes it; or empty.
    """

    user: str
    embedder: str
    model_ids: tuple[str, ...]
    reference: npt.NDArray[np.float32]
    samples: npt.NDArray[np.float32]
    created_unix_s: int
    consent: str
    policy: str = ""

    def __post_init__(self) -> None:
        check_user(self.user)
        check_models(self.embedder, self.model_ids)
        check_whole(self.created_unix_s, "created_unix_s")
        check_consent(self.consent)
        _check_policy(self.policy)
        _check_array(self.reference, "reference", ndim=1)
        _check_array(self.samples, "samples", ndim=2)
        _check_shapes(self.reference, self.samples)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Record holds features and stays in its process: Vault.export seals a template for elsewhere")

    def __repr__(self) -> str:
        samples, dimension = self.samples.shape
        return f"Record(user={self.user!r}, embedder={self.embedder!r}, samples={samples}, dimension={dimension})"


def check_whole(value: int, name: str) -> None:
    """Check that the value is an int from 0 to 2**63 - 1. InputError."""
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise InputError(f"{name} must be an int within 0 and 2**63 - 1, not {value!r:.80}")


def check_models(embedder: str, model_ids: tuple[str, ...]) -> None:
    """InputError for an embedder or ids of its models that no template can have."""
    if not isinstance(embedder, str) or not _EMBEDDER.fullmatch(embedder):
        raise InputError(f"embedder must be 1 to 64 printable ASCII characters, not {embedder!r:.80}")
    if not isinstance(model_ids, tuple) or not 1 <= len(model_ids) <= MAX_MODELS:
        raise InputError(f"model_ids must be a tuple of 1 to {MAX_MODELS} hashes, not {type(model_ids).__name__}")
    for model_id in model_ids:
        if not isinstance(model_id, str) or not _SHA256_HEX.fullmatch(model_id):
            raise InputError(f"a model id must be 64 lower-case hex digits, not {model_id!r:.80}")


def check_consent(consent: str) -> None:
    # Printable only: the text is shown in terminals, where control characters can do harm.
    if not isinstance(consent, str) or not 1 <= len(consent) <= MAX_CONSENT_LENGTH or not consent.isprintable():
        raise InputError(f"consent must be 1 to {MAX_CONSENT_LENGTH} printable characters on one line")


def _check_policy(policy: str) -> None:
    if not isinstance(policy, str) or not policy.isascii() or len(policy) > MAX_POLICY_SIZE:
        raise InputError(f"policy must be at most {MAX_POLICY_SIZE} ASCII characters")


def _check_array(array: npt.NDArray[np.float32], name: str, *, ndim: int) -> None:
    import numpy as np

    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != ndim:
        came = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"{name} must be a float32 array of {ndim} dimension(s), not {came}")
    if not np.isfinite(array).all():
        raise InputError(f"{name} has values that are not finite: they are not features")


def _check_shapes(reference: npt.NDArray[np.float32], samples: npt.NDArray[np.float32]) -> None:
    import numpy as np

    count, dimension = samples.shape
    if not (1 <= count <= MAX_SAMPLES and 1 <= dimension <= MAX_DIMENSION and reference.shape == (dimension,)):
        raise InputError(
            f"samples must be (1 to {MAX_SAMPLES}, d) and reference (d,) with d within 1 and {MAX_DIMENSION},"
            f" not {samples.shape} and {reference.shape}"
        )
    with np.errstate(over="ignore"):  # infinite is too long, too
        length = math.sqrt(np.dot(reference, reference))  # no copy: it may lie in locked memory
    if not UNIT_TOLERANCE < length <= 1.0 + UNIT_TOLERANCE:
        raise InputError("the reference must have a length over 0 and at most 1")
