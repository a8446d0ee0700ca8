"""TpmKey on a software TPM 2.0 (swtpm): it wraps and unwraps; other sections, passphrases and PCRs are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tpm_key_tools
from tpm_key_tools import (
    BINDING,
    COUNTER,
    KEK,
    PARENT,
    PUBLIC,
    authorization,
    counter_of,
    failures,
    key_for,
    opens,
    wrapped,
)
from tpm_tools import SoftwareTpm

from facesdk._core import Secret
from facesdk.errors import InputError, KeyUnavailableError, LockedOutError, PassphraseRequiredError, VaultIntegrityError
from facesdk.vault import crypto
from facesdk.vault.keys.provider import MAX_SECTION_SIZE, KeyKind, KeyProvider
from facesdk.vault.keys.tpm import TpmKey
from facesdk.vault.keys.tpm_device import opened
from facesdk.vault.keys.tpm_section import Section

pytestmark = tpm_key_tools.needs_tpm
running, tpm, another = tpm_key_tools.running, tpm_key_tools.tpm, tpm_key_tools.another


@pytest.mark.parametrize("options", [{}, {"counter": False}, {"pcrs": (0, 7)}, {"pcrs": (23,), "counter": False}])
def test_round_trip(tpm: SoftwareTpm, options: dict[str, object]) -> None:
    key = key_for(tpm, **options)
    section = wrapped(key)
    assert opens(key, section)
    assert opens(key_for(tpm), section), "the section alone says how it is opened"
    assert len(section) <= MAX_SECTION_SIZE
    assert KEK not in section
    assert section != wrapped(key_for(tpm, **{**options, "counter": False}))


def test_is_a_provider(tpm: SoftwareTpm) -> None:
    key: KeyProvider = key_for(tpm)
    assert key.kind is KeyKind.TPM
    assert key.stops
    assert key.does_not_stop
    assert "open" not in repr(key)


def test_no_trailing_zero_in_the_authorization(tpm: SoftwareTpm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto, "hkdf_sha256", lambda *_, size, **__: Secret(size))
    key = key_for(tpm, counter=False)
    assert opens(key, wrapped(key))


def test_wrong_passphrase_is_refused_and_counted(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    assert opens(key, section)
    assert failures(tpm) == 0
    with pytest.raises(KeyUnavailableError, match="passphrase is wrong"):
        key_for(tpm, "open, pleasf").unwrap(section, binding=BINDING)
    assert failures(tpm) == 1


@pytest.mark.parametrize("pcrs", [(), (7,)])
def test_dictionary_attack_locks_the_tpm(tpm: SoftwareTpm, pcrs: tuple[int, ...]) -> None:
    key = key_for(tpm, pcrs=pcrs)
    section = wrapped(key)
    tpm.lockout(3, recovery_s=777)
    assert opens(key, section)
    for guess in ("a", "b", "c"):
        with pytest.raises(KeyUnavailableError, match="passphrase is wrong"):
            key_for(tpm, guess).unwrap(section, binding=BINDING)
    with pytest.raises(LockedOutError) as caught:
        opens(key, section)
    assert caught.value.retry_after_s == 777
    assert counter_of(key, section).increment() > 0, "an opened vault goes on"
    tpm.lockout(1000)
    assert opens(key, section)


def test_no_sealing_without_lockout(tpm: SoftwareTpm) -> None:
    tpm.run("tpm2_dictionarylockout", "--setup-parameters", "--max-tries=3", "--recovery-time=0",
            "--lockout-recovery-time=0")  # fmt: skip
    with pytest.raises(KeyUnavailableError, match="dictionary-attack protection is off"):
        wrapped(key_for(tpm))
    assert tpm.handles()["nv-index"] == []


def test_every_flipped_byte_is_refused(tpm: SoftwareTpm, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit in each byte of both kinds of sections; Argon2id is computed once for each cost and salt."""
    known, real = {}, crypto.argon2id

    def remembered(secret: Secret, salt: bytes, **cost: int) -> Secret:
        asked = (salt, *cost.items())
        if asked not in known:
            with real(secret, salt, **cost) as derived:
                known[asked] = bytes(derived)
        return Secret.of(known[asked])

    monkeypatch.setattr(crypto, "argon2id", remembered)
    key = key_for(tpm)
    for section in (wrapped(key), wrapped(key_for(tpm, pcrs=(1, 16)))):
        assert opens(key, section)
        found = {}
        for at in range(len(section)):
            damaged = bytearray(section)
            damaged[at] ^= 1 << (at % 8)
            with pytest.raises((KeyUnavailableError, VaultIntegrityError)) as caught:
                key.unwrap(bytes(damaged), binding=BINDING)
            found[at] = caught.type
        assert {found[at] for at in range(PUBLIC, len(section))} == {VaultIntegrityError}
        assert {found[at] for at in range(PARENT, PUBLIC)} == {KeyUnavailableError}
        assert opens(key, section)


def test_wrong_sizes_are_refused(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    assert opens(key, section)
    for size in range(len(section)):
        with pytest.raises(VaultIntegrityError):
            key.unwrap(section[:size], binding=BINDING)
    for longer in (section + b"\0", section + section, section + bytes(4096), bytes(4096)):
        with pytest.raises(VaultIntegrityError):
            key.counter(longer)


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"\2"), (1, b"\xff\x4a\0\0"), (1, b"\1\0\4\0"), (5, b"\1"), (5, b"\xff"), (6, b"\0"), (6, b"\5"),
     (COUNTER, b"\0\0\x81\1"), (COUNTER, b"\0\0\0\0"), (COUNTER, b"\0\xfb\x80\1"), (COUNTER + 4, bytes(32)),
     (PUBLIC + 8, b"\4")],
)  # fmt: skip
def test_values_out_of_bounds_cost_nothing(
    tpm: SoftwareTpm, monkeypatch: pytest.MonkeyPatch, at: int, value: bytes
) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    assert opens(key, section)
    monkeypatch.setattr(crypto, "argon2id", None)
    with pytest.raises(VaultIntegrityError):
        key.unwrap(section[:at] + value + section[at + len(value) :], binding=BINDING)


def test_section_of_another_file_is_refused(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    assert opens(key, section)
    with pytest.raises(KeyUnavailableError, match="belongs to another file"):
        key.unwrap(section, binding=b"header of bob's file")


def test_section_of_another_tpm_is_refused(tpm: SoftwareTpm, another: SoftwareTpm) -> None:
    section = wrapped(key_for(tpm))
    assert opens(key_for(tpm), section)
    with pytest.raises(KeyUnavailableError, match="another TPM"):
        key_for(another).unwrap(section, binding=BINDING)
    with pytest.raises(KeyUnavailableError, match="gone"):
        counter_of(key_for(another), section).read()
    # The name of the other's primary key does not help: the object is still not its own.
    forged = section[:PARENT] + wrapped(key_for(another))[PARENT:PUBLIC] + section[PUBLIC:]
    with pytest.raises(VaultIntegrityError):
        key_for(another).unwrap(forged, binding=BINDING)
    assert failures(another) == 0


def test_cleared_tpm_is_told(another: SoftwareTpm) -> None:
    key = key_for(another)
    section = wrapped(key)
    assert opens(key, section)
    another.run("tpm2_clear")
    with pytest.raises(KeyUnavailableError, match="cleared"):
        opens(key, section)
    key.destroy(section)
    assert opens(key, wrapped(key))


def test_changed_pcr_is_refused_and_not_counted(tpm: SoftwareTpm) -> None:
    key = key_for(tpm, pcrs=(7, 16))
    section, free = wrapped(key), wrapped(key_for(tpm))
    assert opens(key, section)
    tpm.run("tpm2_pcrextend", f"9:sha256={'11' * 32}")
    assert opens(key, section), "another PCR does not matter"
    tpm.run("tpm2_pcrextend", f"16:sha256={'11' * 32}")
    with pytest.raises(KeyUnavailableError, match=r"PCRs \(7, 16\) changed"):
        opens(key, section)
    assert failures(tpm) == 0
    assert opens(key, free)
    tpm.run("tpm2_pcrreset", "16")
    assert opens(key, section)


def test_pcr_policy_needs_the_passphrase_too(tpm: SoftwareTpm) -> None:
    section = wrapped(key_for(tpm, pcrs=(7,)))
    assert opens(key_for(tpm), section)
    with pytest.raises(KeyUnavailableError, match="passphrase is wrong"):
        opens(key_for(tpm, "another"), section)


def test_pcr_policy_cannot_be_left_out(tpm: SoftwareTpm) -> None:
    """A program of its own, with the right passphrase, that authorizes without the policy."""
    section = wrapped(key_for(tpm, pcrs=(7,)))
    assert opens(key_for(tpm), section)
    sealed = Section.parse(section)
    with pytest.raises(KeyUnavailableError, match="authValue or authPolicy is not available"):
        unseal_without_policy(tpm, sealed, authorization("open, please", section))


def unseal_without_policy(tpm: SoftwareTpm, sealed: Section, auth: bytes) -> None:
    with opened(tpm.tcti) as raw, Secret.of(auth) as secret:
        parent, _ = raw.primary()
        item = raw.load(parent, sealed)
        with raw.item_session(parent, replace(sealed, pcrs=())) as session:
            raw.unseal(item, session, secret)


def test_forgotten_passphrase(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    assert opens(key, section)
    key.forget()
    key.forget()
    for use in (lambda: opens(key, section), lambda: wrapped(key)):
        with pytest.raises(PassphraseRequiredError):
            use()
    assert counter_of(key, section).increment() > 0


@pytest.mark.parametrize("pcrs", [(24,), (-1,), (1, 1)])
def test_bad_pcrs(pcrs: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        TpmKey("p", pcrs=pcrs)


def test_bad_key_size(tpm: SoftwareTpm) -> None:
    with pytest.raises(InputError), Secret(16) as short:
        key_for(tpm).wrap(short, binding=BINDING)
