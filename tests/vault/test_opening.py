"""An opening of a key: what overtakes it, what ends it, and that no copy of the key outlives what it was made for."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from vault_tools import CHEAP, RULES, Bench, assert_holds, make_record

from facesdk.errors import PassphraseRequiredError, Reason, RollbackError, VaultError, VaultIntegrityError
from facesdk.vault import KeyFileKey, KeyKind, PassphraseKey, Template, VaultFolder, files
from facesdk.vault import opening as opening_module
from facesdk.vault.attempts import PassphraseRequired, Ready
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.opening import Opening
from facesdk.vault.rules import PRESETS


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "vault.key"))


@pytest.fixture
def recovery() -> PassphraseKey:
    return PassphraseKey("over there", kind=KeyKind.RECOVERY, **CHEAP)


# --- a file that is not the one the key was opened for


def renewed(bench: Bench) -> None:
    bench.vault.renew("alice", bench.key, rules=RULES)


def rekeyed(bench: Bench) -> None:
    bench.vault.rekey("alice", bench.key, bench.key, rules=RULES)


def replaced(bench: Bench) -> None:
    bench.enroll(make_record(seed=1), replace=True)


@pytest.mark.parametrize("change", [renewed, rekeyed, replaced])
def test_who_finds_the_file_changed_forgets_the_key(bench: Bench, change: Callable[[Bench], None]) -> None:
    """By another program; and the key stays forgotten when the file that it was opened for is put back."""
    bench.enroll()
    before = bench.path().read_bytes()
    generation = bench.generation()
    change(Bench(bench.folder, bench.key))
    with pytest.raises(PassphraseRequiredError) as caught:
        bench.vault.attempt("alice", lambda _: pytest.fail("compared"), generation=generation, camera="c", label="")
    assert caught.value.reason is Reason.CHANGED
    assert bench.open_keys.load("alice") == PassphraseRequired(Reason.CHANGED)
    bench.path().write_bytes(before)
    with pytest.raises(PassphraseRequiredError):
        bench.attempt()


def test_who_finds_an_older_file_put_back_forgets_the_key(bench: Bench) -> None:
    bench.enroll()
    before = bench.path().read_bytes()
    bench.vault.rekey("alice", bench.key, bench.key, rules=RULES)
    newest = bench.path().read_bytes()
    bench.path().write_bytes(before)
    with pytest.raises(RollbackError, match="older file"):
        bench.attempt()
    assert bench.open_keys.load("alice") == PassphraseRequired(Reason.CHANGED)
    bench.path().write_bytes(newest)
    with pytest.raises(PassphraseRequiredError):
        bench.attempt()
    bench.unlock()
    assert bench.attempt()


def test_a_probe_for_another_generation_costs_nothing(bench: Bench) -> None:
    bench.enroll()
    generation = bench.generation()
    for other in (generation - 1, generation + 1):
        with pytest.raises(PassphraseRequiredError) as caught:
            bench.vault.attempt("alice", lambda _: pytest.fail("compared"), generation=other, camera="c", label="")
        assert caught.value.reason is Reason.CHANGED
    assert bench.failures() == 0
    assert bench.attempt()


# --- what locks while a key is on its way to be opened


OPENS = ["enroll", "unlock", "rekey", "renew", "import"]


def opens(bench: Bench, what: str, recovery: PassphraseKey, data: bytes, opening: Opening | None) -> None:
    """Opens alice's key by this call, suppressing that an unlock says where it did not."""
    vault, key = bench.vault, bench.key
    if what == "enroll":
        vault.enroll(make_record(), key, replace=True, rules=RULES, opening=opening)
    elif what == "unlock":
        with contextlib.suppress(PassphraseRequiredError):
            vault.unlock("alice", key, rules=RULES, opening=opening)
    elif what == "rekey":
        vault.rekey("alice", key, key, rules=RULES, opening=opening)
    elif what == "renew":
        vault.renew("alice", key, rules=RULES, opening=opening)
    else:
        vault.import_(data, recovery, key, replace=True, rules=RULES, opening=opening)


@pytest.mark.parametrize("begun", ["given", "own"])
@pytest.mark.parametrize("closes", ["lock", "panic", None])
@pytest.mark.parametrize("what", OPENS)
def test_what_locks_after_an_opening_began_wins(
    bench: Bench, recovery: PassphraseKey, monkeypatch: pytest.MonkeyPatch, what: str, closes: str | None, begun: str
) -> None:
    """Another program does it, before the opening has the vault's lock."""
    bench.enroll()
    data = bench.vault.export("alice", bench.key, recovery)
    other = Bench(bench.folder, bench.key).vault
    begin = bench.vault.begin

    def overtaken(user: str, *, enrolling: bool = False) -> Opening | None:
        opening = begin(user, enrolling=enrolling)
        if closes == "lock":
            other.lock("alice")
        elif closes == "panic":
            other.panic()
        return opening

    opening = overtaken("alice") if begun == "given" else None
    monkeypatch.setattr(bench.vault, "begin", overtaken if begun == "own" else begin)
    opens(bench, what, recovery, data, opening)
    state = bench.vault.state("alice")[0]
    if closes is None:
        assert isinstance(state, Ready)
        assert bench.attempt()
    else:
        assert state == PassphraseRequired(Reason.LOCKED if closes == "lock" else Reason.PANIC)


@pytest.mark.parametrize("what", ["enroll", "import"])
def test_a_panic_before_the_first_user_of_a_vault_wins(
    bench: Bench, recovery: PassphraseKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """For that, the vault is made as soon as the opening begins."""
    bench.enroll()
    data = bench.vault.export("alice", bench.key, recovery)
    there = Bench(tmp_path / "there", bench.key)
    other = Bench(tmp_path / "there", bench.key).vault
    begin = there.vault.begin

    def overtaken(user: str, *, enrolling: bool = False) -> Opening | None:
        opening = begin(user, enrolling=enrolling)
        other.panic()
        return opening

    monkeypatch.setattr(there.vault, "begin", overtaken)
    opens(there, what, recovery, data, None)
    assert there.vault.state("alice")[0] == PassphraseRequired(Reason.PANIC)


def test_a_lock_that_is_the_first_entry_of_a_log_wins_too(bench: Bench) -> None:
    """The log was gone when the opening began, and whoever locks begins a new one."""
    bench.enroll()
    (bench.folder / "alice.audit").unlink()
    opening = bench.vault.begin("alice", enrolling=True)
    with contextlib.suppress(VaultError, VaultIntegrityError):
        Bench(bench.folder, bench.key).vault.lock("alice")
    assert b'"locked"' in (bench.folder / "alice.audit").read_bytes()
    opens(bench, "enroll", bench.key, b"", opening)  # type: ignore[arg-type]
    assert bench.vault.state("alice")[0] == PassphraseRequired(Reason.LOCKED)


def test_an_opening_begins_only_where_there_is_a_vault_or_is_to_be_one(bench: Bench) -> None:
    assert bench.vault.begin("alice") is None
    assert not bench.folder.exists()
    assert bench.vault.begin("alice", enrolling=True) is not None
    assert bench.folder.exists()


def test_an_opening_stays_as_it_was_made(bench: Bench) -> None:
    opening = bench.vault.begin("alice", enrolling=True)
    with pytest.raises(FrozenInstanceError):
        opening.entries = 7  # type: ignore[misc,union-attr]


# --- copies of a key end with what they were made for


@pytest.fixture
def loaded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[OpenKey]:
    """Every copy of a key that was loaded from the session."""
    copies: list[OpenKey] = []
    load = bench.open_keys.load

    def loading(user: str) -> OpenKey | PassphraseRequired:
        found: OpenKey | PassphraseRequired = load(user)
        if isinstance(found, OpenKey):
            copies.append(found)
        return found

    monkeypatch.setattr(bench.open_keys, "load", loading)
    return copies


@pytest.fixture
def templates(monkeypatch: pytest.MonkeyPatch) -> list[Template]:
    """Every template that was opened with a key from the session."""
    made: list[Template] = []

    class Watched(Template):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(opening_module, "Template", Watched)
    return made


@pytest.mark.parametrize(
    "what", ["match", "mismatch", "expired", "idle", "locked elsewhere", "panic elsewhere", "renewed", "rekeyed",
             "overtaken", "lock", "panic", "audit", "state", "error"],
)  # fmt: skip
def test_no_copy_of_a_key_or_template_is_left_open(
    bench: Bench, loaded: list[OpenKey], templates: list[Template], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    bench.enroll(rules=PRESETS["strict"])
    generation = bench.generation()
    other = Bench(bench.folder, bench.key)
    other.clock.now_ns = bench.clock.now_ns
    compare: Callable[[Template], bool] = lambda _: what == "match"  # noqa: E731
    if what in ("expired", "idle"):
        bench.clock.turn(24 * 3600 if what == "expired" else 4 * 3600)
    elif what == "locked elsewhere":
        other.vault.lock("alice")
    elif what == "panic elsewhere":
        other.vault.panic()
    elif what == "renewed":
        renewed(other)
    elif what == "rekeyed":
        rekeyed(other)
    elif what == "overtaken":
        monkeypatch.setattr(bench.open_keys, "save", lambda *_, **__: False)
    elif what == "error":
        compare = lambda _: bool(1 // 0)  # noqa: E731
    with contextlib.suppress(PassphraseRequiredError, ZeroDivisionError):
        if what == "lock":
            bench.vault.lock("alice")
        elif what == "panic":
            bench.vault.panic()
        elif what == "audit":
            bench.vault.audit("alice")
        elif what == "state":
            bench.vault.state("alice")
        else:
            bench.vault.attempt("alice", compare, generation=generation, camera="c", label="")
    assert loaded
    assert all(held.kek.closed for held in loaded)
    assert all(template._payload.closed for template in templates)


# --- a lock's entry in the log


def test_the_entry_of_a_lock_is_sealed_with_the_key_that_it_forgot(bench: Bench) -> None:
    """So that who cuts it off afterwards is found out; a panic has forgotten the key before it comes to the log."""
    bench.enroll()
    bench.vault.lock("alice")
    assert bench.events() == ["enrolled", "locked"]
    log = bench.folder / "alice.audit"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    assert bench.vault.audit("alice", bench.key)[0].problem is not None


def test_a_panic_waits_for_nobody_who_only_reads_where_nobody_is_enrolled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.vault.begin("alice", enrolling=True)
    monkeypatch.setattr(files, "LOCK_TIMEOUT_S", 0.05)
    with bench.vault.folder.locked("read it", user="alice", shared=True):
        assert bench.vault.panic() == 0


@pytest.mark.parametrize(("what", "reason"), [("remove", Reason.REMOVED), ("lock", Reason.LOCKED)])
def test_what_was_opened_while_it_waited_is_forgotten_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, what: str, reason: Reason
) -> None:
    """An unlock that had the vault's lock when the key was forgotten first."""
    bench.enroll()
    forget, calls = bench.open_keys.forget, []

    def forgetting(user: str, why: Reason) -> bool:
        done = forget(user, why)
        calls.append(why)
        if len(calls) == 1:
            bench.unlock()
            assert isinstance(bench.open_keys.load("alice"), OpenKey)
        return bool(done)

    monkeypatch.setattr(bench.open_keys, "forget", forgetting)
    bench.vault.remove("alice") if what == "remove" else bench.vault.lock("alice")
    assert bench.open_keys.load("alice") == PassphraseRequired(reason)
    assert calls == [reason] * 2


# --- who waits for whom


def test_who_only_reads_waits_for_nobody_who_reads_and_all_wait_for_who_writes(
    bench: Bench, recovery: PassphraseKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.enroll()
    data, generation = bench.vault.export("alice", bench.key, recovery), bench.generation()
    vault, key, busy = bench.vault, bench.key, VaultFolder(bench.folder)

    def opened() -> None:
        with vault.opened("alice"):
            pass

    reading: list[Callable[[], object]] = [lambda: vault.state("alice"), opened, lambda: vault.audit("alice")]
    writing: list[Callable[[], object]] = [
        lambda: vault.audit("alice", key),  # which would log a wrong key
        lambda: vault.attempt("alice", lambda _: True, generation=generation, camera="c", label=""),
        bench.unlock,
        lambda: bench.enroll(replace=True),
        lambda: vault.begin("alice"),
        lambda: rekeyed(bench),
        lambda: renewed(bench),
        lambda: vault.export("alice", key, recovery),
        lambda: vault.import_(data, recovery, key, replace=True, rules=RULES),
        lambda: vault.restart_log("alice", key),
    ]
    monkeypatch.setattr(files, "LOCK_TIMEOUT_S", 0.01)
    for call in (*reading, *writing):
        call()
        bench.unlock()
        generation = bench.generation()
    for shared in (True, False):
        with busy.locked("hold it", user="alice", shared=shared):
            for call in (*reading, *writing):
                if shared and call in reading:
                    call()
                else:
                    with pytest.raises(VaultError, match=r"busy|another program|lock"):
                        call()
    assert bench.attempt()


@pytest.mark.parametrize("what", ["enroll", "import"])
def test_a_vault_that_is_gone_meanwhile_is_made_again(
    bench: Bench, recovery: PassphraseKey, tmp_path: Path, what: str
) -> None:
    bench.enroll()
    data = bench.vault.export("alice", bench.key, recovery)
    opening = bench.vault.begin("alice", enrolling=True)
    shutil.rmtree(bench.folder)
    opens(bench, what, recovery, data, opening)
    with bench.vault.opened("alice") as template:
        assert_holds(template, make_record())
    assert bench.attempt()
