"""Enrolling, unlocking, changing keys, renewing and moving to another device, and what each leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bench_tools
import pytest
from vault_tools import CHEAP, RULES, Bench, assert_holds, make_record

from facesdk import matching
from facesdk.errors import (
    AlreadyEnrolledError,
    InputError,
    KeyUnavailableError,
    NotEnrolledError,
    PassphraseRequiredError,
    Reason,
    VaultIntegrityError,
)  # fmt: skip
from facesdk.vault import KeyFileKey, KeyKind, PassphraseKey, Template
from facesdk.vault.attempts import PassphraseRequired, Ready
from facesdk.vault.format import key_id, parse_header, unseal
from facesdk.vault.rules import PRESETS

key = bench_tools.key
bench = bench_tools.bench
recovery = bench_tools.recovery


def kek_of(bench: Bench, key: object = None) -> bytes:
    header = parse_header(bench.path().read_bytes())
    with (key or bench.key).unwrap(header.section, binding=header.binding) as kek:  # type: ignore[attr-defined]
        return bytes(memoryview(kek))


def holds(bench: Bench, record: object = None) -> None:
    with bench.vault.opened("alice") as template:
        assert_holds(template, record or make_record())


# --- enroll and unlock


def test_enroll_opens_and_unlock_opens_again(bench: Bench) -> None:
    bench.enroll()
    holds(bench)
    state, held = bench.vault.state("alice")
    assert state == Ready(opened_ns=bench.clock.now_ns, active_ns=bench.clock.now_ns, failures=0, not_before_ns=0)
    assert held is not None
    other = Bench(bench.folder, bench.key)
    assert other.vault.state("alice") == (PassphraseRequired(Reason.NOT_UNLOCKED), None)
    with pytest.raises(PassphraseRequiredError, match="not unlocked"), other.vault.opened("alice"):
        pass
    other.unlock()
    holds(other)
    assert other.attempt()
    assert bench.events() == ["enrolled", "unlocked", "verified"]


def test_who_is_not_enrolled(bench: Bench) -> None:
    for folder_is_there in (False, True):
        if folder_is_there:
            bench.enroll(make_record("bob"))
        calls: list[Callable[[], object]] = [
            bench.unlock,
            lambda: bench.vault.rekey("alice", bench.key, bench.key, rules=RULES),
            lambda: bench.vault.renew("alice", bench.key, rules=RULES),
            lambda: bench.vault.remove("alice"),
            lambda: bench.vault.restart_log("alice", bench.key),
            lambda: bench.vault.audit("alice", bench.key),
            lambda: holds(bench),
            lambda: bench.vault.lock("alice"),
        ]
        for call in calls:
            with pytest.raises(NotEnrolledError, match="alice"):
                call()
    assert bench.vault.state("alice") == (PassphraseRequired(Reason.NOT_UNLOCKED), None)


def test_a_damaged_file_still_counts_as_enrolled(bench: Bench) -> None:
    bench.enroll()
    bench.path().write_bytes(b"junk")
    with pytest.raises(AlreadyEnrolledError):
        bench.enroll()
    with pytest.raises(VaultIntegrityError):
        bench.enroll(replace=True)  # nobody can show that it is theirs
    assert bench.path().read_bytes() == b"junk"
    bench.vault.remove("alice")
    bench.enroll()
    bench.unlock()
    holds(bench)


def test_who_cannot_open_a_template_may_not_replace_it(bench: Bench, tmp_path: Path) -> None:
    """By enrolling or by importing; a wrong key is in the log."""
    bench.enroll()
    recovery = PassphraseKey("of the stranger", kind=KeyKind.RECOVERY, **CHEAP)
    elsewhere = Bench(tmp_path / "elsewhere", KeyFileKey.create(tmp_path / "elsewhere.key"))
    elsewhere.enroll(make_record(seed=7))
    exported = elsewhere.vault.export("alice", elsewhere.key, recovery)
    sealed, stranger = bench.path().read_bytes(), elsewhere.key
    for replace in (
        lambda key: bench.vault.enroll(make_record(seed=7), key, replace=True, rules=RULES),
        lambda key: bench.vault.import_(exported, recovery, key, replace=True, rules=RULES),
    ):
        with pytest.raises(KeyUnavailableError, match="wrong key"):
            replace(stranger)
        assert bench.path().read_bytes() == sealed
        replace(bench.key)
        assert bench.path().read_bytes() != sealed
        sealed = bench.path().read_bytes()
        holds(bench, make_record(seed=7))
    assert bench.events().count("passphrase_refused") == 2


def test_each_file_has_a_key_of_its_own(bench: Bench) -> None:
    keys = set()
    for number in range(5):
        bench.enroll(make_record(seed=number), replace=True)
        keys.add(kek_of(bench))
    bench.enroll(make_record("bob"))
    assert len(keys) == 5
    assert key_id(kek_of(bench)) == parse_header(bench.path().read_bytes()).key_id
    assert len(list(bench.folder.glob("alice.head-*"))) == 1


# --- another key for the same template


def test_rekey_between_a_key_file_and_passphrases(bench: Bench) -> None:
    bench.enroll()
    kek = kek_of(bench)
    one, two = PassphraseKey("one", **CHEAP), PassphraseKey("two", **CHEAP)
    steps = [(bench.key, one), (one, two), (two, bench.key), (bench.key, two)]
    for number, (old, new) in enumerate(steps, 2):
        bench.vault.rekey("alice", old, new, rules=RULES)
        holds(bench)
        assert bench.attempt()
        bench.unlock(key=new)
        assert bench.generation() == number
        assert bench.attempt()
        with pytest.raises(KeyUnavailableError):
            bench.unlock(key=old)
        assert kek_of(bench, new) == kek  # nothing was enrolled again
    assert bench.events(key=two).count("rekeyed") == 4


def test_the_old_passphrase_opens_nothing_after_rekey(bench: Bench) -> None:
    old, new = PassphraseKey("old", **CHEAP), PassphraseKey("new", **CHEAP)
    bench.enroll(key=old)
    bench.unlock(key=old)
    bench.vault.rekey("alice", old, new, rules=RULES)
    with pytest.raises(KeyUnavailableError, match="wrong key"):
        bench.unlock(key=old)
    assert bench.attempt()  # the session opened by rekey goes on
    bench.unlock(key=new)
    assert bench.events(key=new)[-4:] == ["rekeyed", "passphrase_refused", "verified", "unlocked"]


def test_rekey_with_a_wrong_key_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.enroll()
    before = bench.path().read_bytes()
    other = KeyFileKey.create(tmp_path / "other.key")
    for call in (
        lambda: bench.vault.rekey("alice", other, bench.key, rules=RULES),
        lambda: bench.vault.renew("alice", other, rules=RULES),
        lambda: bench.vault.export("alice", other, PassphraseKey("r", kind=KeyKind.RECOVERY, **CHEAP)),
        lambda: bench.vault.restart_log("alice", other),
    ):
        with pytest.raises(KeyUnavailableError, match="wrong key"):
            call()
        bench.clock.turn(300)  # what several wrong keys cost
    assert bench.path().read_bytes() == before
    assert bench.attempt()


# --- renewing


def test_renew_makes_the_old_template_useless(bench: Bench) -> None:
    record = make_record(dimension=1024)
    bench.enroll(record)
    old_file, old_kek = bench.path().read_bytes(), kek_of(bench)
    bench.vault.renew("alice", bench.key, rules=RULES)
    holds(bench, record)
    assert bench.attempt()
    bench.unlock()
    holds(bench, record)
    # The old key does not open the new file.
    with pytest.raises(KeyUnavailableError, match="another key"):
        unseal(bench.path().read_bytes(), old_kek, user="alice")
    # What leaked of the old template has nothing in common with probes turned for the new one.
    with (
        Template(unseal(old_file, old_kek, user="alice"), old_kek, user="alice") as leaked,
        bench.vault.opened("alice") as template,
    ):
        probes = template.turned([record.reference])
        assert matching.score(template.reference, probes[0]) > 0.999
        assert abs(matching.score(leaked.reference, probes[0])) < 7 / 1024**0.5
    assert bench.events()[1] == "renewed"
    assert len(list(bench.folder.glob("alice.head-*"))) == 1


# --- to another device


def test_export_and_import(bench: Bench, tmp_path: Path) -> None:
    bench.enroll()
    recovery = PassphraseKey("over there", kind=KeyKind.RECOVERY, **CHEAP)
    data = bench.vault.export("alice", bench.key, recovery)
    assert bench.attempt()  # an export leaves the key open
    bench.unlock()
    assert bench.attempt()
    there = Bench(tmp_path / "there", PassphraseKey("new device", **CHEAP))
    assert there.vault.import_(data, recovery, there.key, replace=False, rules=RULES) == "alice"
    holds(there)
    assert there.attempt()
    there.unlock()
    assert there.attempt()
    with pytest.raises(AlreadyEnrolledError):
        there.vault.import_(data, recovery, there.key, replace=False, rules=RULES)
    there.vault.import_(data, recovery, there.key, replace=True, rules=RULES)
    holds(there)
    assert bench.events() == ["enrolled", "exported", "verified", "unlocked", "verified"]
    assert there.events()[0] == "imported"
    # Neither the key nor the rotation goes along.
    assert kek_of(bench) != kek_of(there)
    with bench.vault.opened("alice") as here, there.vault.opened("alice") as gone:
        assert not (here.reference == gone.reference).all()


def test_two_exports_share_no_key(bench: Bench) -> None:
    bench.enroll()
    recovery = PassphraseKey("over there", kind=KeyKind.RECOVERY, **CHEAP)
    one, two = (parse_header(bench.vault.export("alice", bench.key, recovery)) for _ in range(2))
    assert one.key_id != two.key_id
    assert one.section != two.section


def test_import_with_another_passphrase(bench: Bench, tmp_path: Path) -> None:
    bench.enroll()
    data = bench.vault.export("alice", bench.key, PassphraseKey("right", kind=KeyKind.RECOVERY, **CHEAP))
    there = Bench(tmp_path / "there", bench.key)
    with pytest.raises(KeyUnavailableError, match="wrong key"):
        there.vault.import_(data, PassphraseKey("wrong", kind=KeyKind.RECOVERY), there.key, replace=True, rules=RULES)
    assert there.vault.folder.users() == []


# --- the audit log


def test_a_damaged_log_locks_until_it_is_restarted(bench: Bench) -> None:
    bench.enroll()
    bench.unlock()
    generation = bench.generation()
    log = bench.folder / "alice.audit"
    content = log.read_bytes()
    log.write_bytes(content.replace(b'"enrolled"', b'"exported"'))
    with pytest.raises(VaultIntegrityError):
        bench.unlock()
    report, entries, sealed = bench.vault.audit("alice", bench.key)
    assert report.problem is not None
    assert entries == []
    assert sealed
    assert bench.reason() is Reason.LOCKED  # what is found broken closes the key
    log.write_bytes(content)
    bench.unlock()
    log.write_bytes(content[:-5])
    with pytest.raises(VaultIntegrityError):
        bench.vault.attempt("alice", lambda _: pytest.fail("compared"), generation=generation, camera="c", label="")
    bench.vault.restart_log("alice", bench.key)
    assert bench.reason() is Reason.LOCKED
    bench.unlock()
    assert bench.attempt()
    assert bench.events() == ["log_restarted", "unlocked", "verified"]
    assert (bench.folder / "alice.audit.broken-1").read_bytes() == content[:-5]


def test_audit_says_whether_a_head_vouched_for_it(bench: Bench) -> None:
    bench.enroll()
    assert bench.vault.audit("alice")[2] is True
    other = Bench(bench.folder, bench.key)
    assert other.vault.audit("alice")[2] is False
    assert other.vault.audit("alice", bench.key)[2] is True


def test_an_exported_file_is_sealed_with_a_recovery_passphrase_alone(bench: Bench) -> None:
    bench.enroll()
    recovery = PassphraseKey("over there", kind=KeyKind.RECOVERY, **CHEAP)
    data = bench.vault.export("alice", bench.key, recovery)
    plain = PassphraseKey("over there", **CHEAP)
    with pytest.raises(InputError, match="recovery passphrase"):
        bench.vault.export("alice", bench.key, plain)
    with pytest.raises(InputError, match="recovery passphrase"):
        bench.vault.import_(data, plain, bench.key, replace=True, rules=RULES)
    assert bench.events() == ["enrolled", "exported"]
    assert bench.attempt()


def test_the_log_names_the_rules_and_the_label(bench: Bench) -> None:
    bench.vault.enroll(make_record(), bench.key, replace=False, rules=RULES, label="1e-05")
    bench.vault.unlock("alice", bench.key, rules=PRESETS["strict"], label="2e-05")
    bench.unlock()
    assert bench.attempt()
    with bench.vault.opened("alice") as template:
        generation = template.generation
    assert not bench.vault.attempt("alice", lambda _: False, generation=generation, camera="front", label="")
    bench.enroll(replace=True)
    entries = bench.vault.audit("alice", bench.key)[1]
    assert [(entry.event.value, entry.policy) for entry in entries] == [
        ("enrolled", "phone 1e-05"), ("unlocked", "strict 2e-05"), ("unlocked", "phone"), ("verified", "phone phone"),
        ("verified", "phone"), ("replaced", "phone"),
    ]  # fmt: skip
    assert [entry.camera for entry in entries[3:5]] == ["test", "front"]


def test_a_label_that_no_entry_can_have_is_refused_before_anything_is_paid(bench: Bench) -> None:
    bench.enroll()
    for camera, label in (("x" * 1000, ""), ("c", "x" * 1000)):
        with pytest.raises(InputError):
            bench.vault.attempt("alice", lambda _: pytest.fail("compared"), generation=1, camera=camera, label=label)
    assert bench.failures() == 0
    assert bench.events() == ["enrolled"]


# --- what comes and goes with a file


def test_an_exported_template_has_no_generation_of_its_own(bench: Bench, recovery: PassphraseKey) -> None:
    bench.enroll()
    data = bench.vault.export("alice", bench.key, recovery)
    header = parse_header(data)
    with (
        recovery.unwrap(header.section, binding=header.binding) as kek,
        Template(unseal(data, kek, user="alice"), kek, user="alice") as template,
    ):
        assert template.generation == 0
    with pytest.raises(KeyUnavailableError, match="give that, not a"):  # the file of this device is no exported one
        bench.vault.import_(bench.path().read_bytes(), recovery, bench.key, replace=True, rules=RULES)
    assert bench.attempt()
