"""A TPM that is owned, stops, is not there, or has no package: each is told as one of our errors."""

from __future__ import annotations

import sys

import pytest
import tpm_key_tools
from tpm_key_tools import CHEAP, counter_of, key_for, opens, wrapped
from tpm_tools import SoftwareTpm

from facesdk._core import Secret
from facesdk.errors import KeyUnavailableError
from facesdk.vault import crypto
from facesdk.vault.keys.tpm import TpmKey

pytestmark = tpm_key_tools.needs_tpm
running, tpm, another = tpm_key_tools.running, tpm_key_tools.tpm, tpm_key_tools.another


def test_owner_password_is_told(another: SoftwareTpm) -> None:
    key = key_for(another)
    section = wrapped(key)
    another.run("tpm2_changeauth", "-c", "owner", "secret")
    for use in (lambda: opens(key, section), lambda: wrapped(key), lambda: key.destroy(section)):
        with pytest.raises(KeyUnavailableError, match="owner password"):
            use()
    assert counter_of(key, section).read() > 0


def test_tpm_that_stops_is_our_error(tpm: SoftwareTpm, monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    counter = counter_of(key, section)
    assert opens(key, section)
    real = crypto.argon2id

    def unplugged(*arguments: object, **cost: object) -> Secret:
        tpm.stop()
        return real(*arguments, **cost)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(crypto, "argon2id", unplugged)
            with pytest.raises(KeyUnavailableError, match="cannot be reached"):
                opens(key, section)
        for use in (lambda: opens(key, section), lambda: wrapped(key), counter.read, lambda: key.destroy(section)):
            with pytest.raises(KeyUnavailableError, match="cannot be reached"):
                use()
    finally:
        tpm.stop()
        tpm.start()
    assert opens(key, section)


@pytest.mark.parametrize("tcti", ["device:/dev/there-is-none", "swtpm:path=/nowhere", "nonsense", "nonsense:x"])
def test_no_tpm(tcti: str) -> None:
    with pytest.raises(KeyUnavailableError, match="TPM"):
        wrapped(TpmKey("p", tcti=tcti, **CHEAP))


def test_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tpm2_pytss", None)
    with pytest.raises(KeyUnavailableError, match="pip install"):
        wrapped(TpmKey("p", **CHEAP))
