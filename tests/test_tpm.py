"""facesdk.vault.tpm on a software TPM 2.0 (swtpm, by libtpms): real commands, real lockout, real power cuts."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tpm_tools
from tpm_tools import SoftwareTpm

from facesdk._core import Secret
from facesdk.errors import (
    FaceSdkError,
    InputError,
    KeyUnavailableError,
    LockedOutError,
    PassphraseRequiredError,
    StoreIntegrityError,
)
from facesdk.vault import crypto
from facesdk.vault.keys import MAX_SECTION_SIZE, Counter, KeyKind, KeyProvider
from facesdk.vault.tpm import TpmKey
from facesdk.vault.tpm_device import NV_INDICES, Section, opened

REASON = tpm_tools.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

KEK = bytes(range(32))
BINDING = b"header of ada's file"
# The cheapest Argon2id that a section may ask for.
CHEAP = {"memory_kib": 19 * 1024, "passes": 2}
COUNTER_ATTRIBUTES = "authread|authwrite|no_da|nt=counter"
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


def define(tpm: SoftwareTpm, index: str, attributes: str, auth: str, *, size: int = 8) -> None:
    """What root can do with the owner's empty password: an NV index as wanted."""
    tpm.run("tpm2_nvdefine", "-C", "o", "-s", str(size), "-p", f"hex:{auth}", "-a", attributes, index)


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


def raising(error: Exception) -> Callable[..., Secret]:
    def call(*_arguments: object, **_options: object) -> Secret:
        raise error

    return call


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
            with pytest.raises((KeyUnavailableError, StoreIntegrityError)) as caught:
                key.unwrap(bytes(damaged), binding=BINDING)
            found[at] = caught.type
        assert {found[at] for at in range(PUBLIC, len(section))} == {StoreIntegrityError}
        assert {found[at] for at in range(PARENT, PUBLIC)} == {KeyUnavailableError}
        assert opens(key, section)


@pytest.mark.parametrize("at", [COUNTER + 4, PARENT - 1])
def test_changed_counter_authorization_is_refused(tpm: SoftwareTpm, at: int) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    assert counter_of(key, section).read() > 0
    damaged = section[:at] + bytes([section[at] ^ 1]) + section[at + 1 :]
    with pytest.raises(KeyUnavailableError, match="not the counter of this file"):
        counter_of(key, damaged).read()
    with pytest.raises(KeyUnavailableError, match="not the counter of this file"):
        key.destroy(damaged)
    assert counter_of(key, section).read() > 0
    assert failures(tpm) == 0


def test_wrong_sizes_are_refused(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    assert opens(key, section)
    for size in range(len(section)):
        with pytest.raises(StoreIntegrityError):
            key.unwrap(section[:size], binding=BINDING)
    for longer in (section + b"\0", section + section, section + bytes(4096), bytes(4096)):
        with pytest.raises(StoreIntegrityError):
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
    with pytest.raises(StoreIntegrityError):
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
    with pytest.raises(StoreIntegrityError):
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


def test_counter_only_goes_up(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    counter = counter_of(key, section)
    first = counter.read()
    assert [counter.increment() for _ in range(5)] == [first + n for n in range(1, 6)]
    assert counter.read() == first + 5
    assert key_for(tpm, counter=False).counter(wrapped(key_for(tpm, counter=False))) is None


def test_counter_and_key_survive_restarts(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    counter = counter_of(key, section)
    for stop in (tpm.shutdown, tpm.stop):
        value = counter.increment()
        stop()
        tpm.start()
        assert counter.read() == value
        assert opens(key, section)


def test_removed_counter_does_not_start_again_lower(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    highest = [counter_of(key, section).increment() for _ in range(7)][-1]
    key.destroy(section)
    with pytest.raises(KeyUnavailableError, match="gone"):
        counter_of(key, section).read()
    # root defines it again at the same place, with the authorization from the file
    auth = section[COUNTER + 4 : PARENT].hex()
    define(tpm, index_of(section), COUNTER_ATTRIBUTES, auth)
    tpm.run("tpm2_nvincrement", "-P", f"hex:{auth}", index_of(section))
    assert counter_of(key, section).read() > highest


def test_ordinary_index_in_place_of_the_counter_is_refused(tpm: SoftwareTpm, tmp_path: Path) -> None:
    key = key_for(tpm)
    section = wrapped(key)
    assert counter_of(key, section).read() > 0
    key.destroy(section)
    auth = section[COUNTER + 4 : PARENT].hex()
    define(tpm, index_of(section), "authread|authwrite|no_da", auth)
    (tmp_path / "low").write_bytes(bytes(7) + b"\1")
    tpm.run("tpm2_nvwrite", "-P", f"hex:{auth}", "-i", str(tmp_path / "low"), index_of(section))
    with pytest.raises(KeyUnavailableError, match="replaced"):
        counter_of(key, section).read()


def test_changing_the_passphrase_keeps_the_counter(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    old = wrapped(key)
    value = counter_of(key, old).increment()
    changed = key_for(tpm, "another one")
    new = wrapped(changed, keep=old)
    assert opens(changed, new)
    assert index_of(new) == index_of(old)
    assert counter_of(changed, new).read() == value
    assert len(tpm.handles()["nv-index"]) == 1
    with_counter = wrapped(changed, keep=wrapped(key_for(tpm, counter=False)))
    assert counter_of(changed, with_counter).read() > 0
    assert index_of(with_counter) != index_of(new)


def test_destroy_frees_the_index(tpm: SoftwareTpm) -> None:
    key = key_for(tpm)
    first, second = wrapped(key), wrapped(key)
    assert len(tpm.handles()["nv-index"]) == 2
    forgotten = key_for(tpm, None)
    forgotten.destroy(first)
    forgotten.destroy(first)
    assert tpm.handles()["nv-index"] == [f"0x{int(index_of(second), 0):X}"]
    assert counter_of(key, second).read() > 0
    assert opens(key, second)


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


def test_a_full_tpm_says_so_and_keeps_nothing(another: SoftwareTpm) -> None:
    key = key_for(another)
    assert opens(key, wrapped(key))
    index = NV_INDICES.stop
    # Counters have space of their own, which ordinary indices may not take.
    for size, attributes in ((2048, "authread|authwrite"), (256, "authread|authwrite"), (8, COUNTER_ATTRIBUTES)):
        with contextlib.suppress(RuntimeError):
            while index < NV_INDICES.stop + 150:
                define(another, hex(index), attributes, "00", size=size)
                index += 1
    full = another.handles()
    with pytest.raises(KeyUnavailableError, match="no room"):
        wrapped(key)
    assert another.handles() == full
    assert opens(key, wrapped(key_for(another, counter=False)))


def test_failed_wrap_gives_the_counter_back(tpm: SoftwareTpm, monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_for(tpm)
    monkeypatch.setattr(crypto, "argon2id", raising(MemoryError()))
    with pytest.raises(MemoryError):
        wrapped(key)
    assert tpm.handles()["nv-index"] == []


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


def test_tcti_of_the_environment(tpm: SoftwareTpm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPM2TOOLS_TCTI", tpm.tcti)
    key = TpmKey("p", **CHEAP)
    assert opens(key, wrapped(key))


def test_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tpm2_pytss", None)
    with pytest.raises(KeyUnavailableError, match="pip install"):
        wrapped(TpmKey("p", **CHEAP))


@pytest.mark.parametrize("pcrs", [(24,), (-1,), (1, 1)])
def test_bad_pcrs(pcrs: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        TpmKey("p", pcrs=pcrs)


def test_bad_key_size(tpm: SoftwareTpm) -> None:
    with pytest.raises(InputError), Secret(16) as short:
        key_for(tpm).wrap(short, binding=BINDING)


def test_nothing_stays_loaded(tpm: SoftwareTpm) -> None:
    """50 operations, half of which fail; the fixture looks once more, and a TPM has three slots of each kind."""
    key, wrong, pcrs = key_for(tpm), key_for(tpm, "wrong"), key_for(tpm, pcrs=(16,))
    section, bound = wrapped(key), wrapped(pcrs)
    tpm.run("tpm2_pcrextend", f"16:sha256={'22' * 32}")
    damaged = section[:-1] + bytes([section[-1] ^ 1])
    failed = 0
    for _ in range(10):
        for use in (
            lambda: opens(key, section),
            lambda: opens(wrong, section),
            lambda: opens(key, damaged),
            lambda: opens(pcrs, bound),
            counter_of(key, section).increment,
        ):
            try:
                use()
            except FaceSdkError:
                failed += 1
    tpm.run("tpm2_pcrreset", "16")
    assert failed == 30
    left = tpm.handles()
    assert len(left.pop("nv-index")) == 2
    assert left == {"transient": [], "loaded-session": [], "saved-session": []}


def test_key_and_authorization_do_not_cross_the_bus(
    tpm: SoftwareTpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte between libtss2 and the TPM, by libtss2's own recorder; the encrypted object is among them."""
    monkeypatch.setenv("TCTI_PCAP_FILE", str(tmp_path / "bus.pcap"))
    kek = os.urandom(32)
    for pcrs in ((), (7,)):
        key = TpmKey("open, please", tcti=f"pcap:{tpm.tcti}", pcrs=pcrs, **CHEAP)
        with Secret.of(kek) as secret:
            section = key.wrap(secret, binding=BINDING)
        with key.unwrap(section, binding=BINDING) as opened:
            assert bytes(opened) == kek
        bus = (tmp_path / "bus.pcap").read_bytes()
        assert bus.count(section[-64:]) >= 1, "the recorder saw the private part"
        assert kek not in bus
        assert authorization("open, please", section) not in bus


CHILD = """
import sys
from facesdk.vault.tpm import TpmKey
key = TpmKey("open, please", tcti=sys.argv[1], memory_kib=19456, passes=2)
kek = key.unwrap(bytes.fromhex(sys.argv[2]), binding=bytes.fromhex(sys.argv[3]))
key.wrap(kek, binding=b"again")
for state in ("open", "closed"):
    print(state, flush=True)
    sys.stdin.readline()
    kek.close()
"""


def test_key_and_authorization_do_not_stay_in_memory(tpm: SoftwareTpm) -> None:
    """The whole writable memory of another process that unwrapped and wrapped: the key once while open, then never."""
    key, kek = key_for(tpm), os.urandom(32)
    with Secret.of(kek) as secret:
        section = key.wrap(secret, binding=BINDING)
    auth = authorization("open, please", section)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tpm.tcti, section.hex(), BINDING.hex()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        for state, times in (("open", 1), ("closed", 0)):
            assert child.stdout.readline().strip() == state
            memory = writable_memory(child.pid)
            assert memory.count(b"facesdk.vault.tpm") > 0, "the memory is that of the child"
            assert (memory.count(kek), memory.count(auth)) == (times, 0)
            child.stdin.write("\n")
            child.stdin.flush()


def writable_memory(process: int) -> bytes:
    """The content of every mapping that can be read and written."""
    parts = []
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", buffering=0) as memory:
        for line in maps:
            where, permissions = line.split()[:2]
            start, end = (int(n, 16) for n in where.split("-"))
            if permissions.startswith("rw"):
                memory.seek(start)
                parts.append(memory.read(end - start))
    return b"\0".join(parts)
