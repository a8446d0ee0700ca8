"""What the tests of TpmKey share: their TPMs, keys for them, and what stands where in a section."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import tpm_tools
from tpm_tools import SoftwareTpm

from facesdk._core import Secret
from facesdk.vault import crypto
from facesdk.vault.keys.provider import Counter
from facesdk.vault.keys.tpm import TpmKey

REASON = tpm_tools.missing()
needs_tpm = pytest.mark.skipif(REASON is not None, reason=str(REASON))

KEK = bytes(range(32))
BINDING = b"header of ada's file"
# The cheapest Argon2id that a section may ask for.
CHEAP = {"memory_kib": 19 * 1024, "passes": 2}
# Where these fields begin.
COUNTER, PARENT, PUBLIC = 26, 62, 94


@pytest.fixture(scope="module")
def running() -> Iterator[SoftwareTpm]:
    """The module's TPM."""
    software = SoftwareTpm()
    software.start()
    yield software
    software.close()


@pytest.fixture
def tpm(running: SoftwareTpm) -> Iterator[SoftwareTpm]:
    """The module's TPM: no lockout, and afterwards nothing is loaded and no counter left."""
    running.lockout(1000)
    yield running
    left = running.handles()
    for index in left.pop("nv-index"):
        running.run("tpm2_nvundefine", index)
    assert left == {"transient": [], "loaded-session": [], "saved-session": []}


@pytest.fixture
def another() -> Iterator[SoftwareTpm]:
    """A second machine's TPM."""
    software = SoftwareTpm()
    software.start()
    yield software
    software.close()


def key_for(tpm: SoftwareTpm, passphrase: str | bytes | None = "open, please", **options: object) -> TpmKey:
    return TpmKey(passphrase, tcti=tpm.tcti, **{**CHEAP, **options})  # type: ignore[arg-type]


def wrapped(key: TpmKey, **options: bytes) -> bytes:
    with Secret.of(KEK) as kek:
        return key.wrap(kek, binding=BINDING, **options)


def opens(key: TpmKey, section: bytes, *, binding: bytes = BINDING) -> bool:
    with key.unwrap(section, binding=binding) as kek:
        assert bytes(kek) == KEK
    return True


def counter_of(key: TpmKey, section: bytes) -> Counter:
    counter = key.counter(section)
    assert counter is not None
    return counter


def failures(tpm: SoftwareTpm) -> int:
    """How many wrong authorizations the TPM remembers."""
    found = re.search(r"TPM2_PT_LOCKOUT_COUNTER: 0x(\w+)", tpm.run("tpm2_getcap", "properties-variable"))
    assert found is not None
    return int(found[1], 16)


def index_of(section: bytes) -> str:
    """The NV index, which the layout has at byte 26."""
    return hex(int.from_bytes(section[COUNTER : COUNTER + 4], "little"))


def authorization(passphrase: str, section: bytes) -> bytes:
    """The authorization value, written out from the layout."""
    memory_kib, passes, lanes = int.from_bytes(section[1:5], "little"), section[5], section[6]
    salt = section[7:23]
    with crypto.argon2id(
        passphrase.encode(), salt, memory_kib=memory_kib, passes=passes, lanes=lanes, size=32
    ) as derived, crypto.hkdf_sha256(
        derived, salt, info=b"facesdk tpm authorization 1" + section[:PUBLIC] + BINDING, size=32
    ) as auth:  # fmt: skip
        return bytes(auth)[:-1] + bytes([bytes(auth)[-1] | 0x80])
