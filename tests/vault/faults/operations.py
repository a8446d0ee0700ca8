"""What is done to a vault under faults: each operation's vault beforehand, the call, and what may be there after it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from world import FAILURES, OTHER, RULES, USER, World, record

from facesdk.vault import Vault
from facesdk.vault.open_keys import OpenKey

Prepare = Callable[[World, Vault], object]
Call = Callable[[Vault], object]


def charge_failures(vault: Vault, user: str, failures: int) -> None:
    held = vault.open_keys.load(user)
    assert isinstance(held, OpenKey)
    vault.open_keys.save(user, replace(held, state=replace(held.state, failures=failures)))


def enrolled(key: str = "a", *, failures: int = FAILURES, entries: int = 0) -> Prepare:
    """A vault with one user, whose key is open with this many failures; `entries` attempts lie in its log."""

    def prepare(world: World, vault: Vault) -> None:
        vault.enroll(record(), world.key(key), replace=False, rules=RULES)
        for _ in range(entries):  # matches of one presence would be one entry
            vault.attempt(USER, lambda _: False, generation=1, camera="files", label="")
        charge_failures(vault, USER, failures)

    return prepare


def two_users(world: World, vault: Vault) -> None:
    enrolled()(world, vault)
    vault.enroll(record(OTHER), world.key("b"), replace=False, rules=RULES)


def damaged_log(world: World, vault: Vault) -> None:
    enrolled(entries=2)(world, vault)
    path = world.path / f"{USER}.audit"
    path.write_bytes(path.read_bytes().replace(b'"n":1', b'"n":7'))


def exported(world: World, vault: Vault) -> None:
    enrolled("b")(world, vault)
    (world.path / "exported").write_bytes(vault.export(USER, world.key("b"), world.key("recovery")))
    vault.remove(USER)


def exported_and_enrolled(world: World, vault: Vault) -> None:
    exported(world, vault)
    enrolled()(world, vault)


def note_compare(matched: bool, noted: int) -> Callable[[object], bool]:
    """A comparison that says on a descriptor that it was made."""

    def compare(_template: object) -> bool:
        os.write(noted, b"c")
        return matched

    return compare


@dataclass(frozen=True)
class Operation:
    """name; prepare: the vault beforehand; call: from (world, descriptor to note a comparison on) what runs under
    faults; ends: (key, generation) of each file that may be there after it, the last where nothing fails."""

    name: str
    prepare: Prepare
    call: Callable[[World, int], Call]
    ends: tuple[tuple[str, int], ...] = (("a", 1),)
    result: object = None  # what it returns, or the name of the error it raises, where nothing fails
    may_be_gone: bool = False  # before or after it
    key_given: bool = False  # the failures may be none after it, as the key was given
    log: tuple[int, int] | None = None
    needs_restart: bool = False  # of a log that is damaged
    open_keys: tuple[str, ...] = ("keyring",)
    slow: bool = False  # Argon2id in it


def _attempt(matched: bool) -> Callable[[World, int], Call]:
    return lambda _world, noted: (
        lambda vault: vault.attempt(USER, note_compare(matched, noted), generation=1, camera="files", label="phone")
    )


def _enroll(key: str, *, again: bool) -> Callable[[World, int], Call]:
    def call(world: World, _noted: int) -> Call:
        provider, made = world.key(key), record()
        return lambda vault: vault.enroll(made, provider, replace=again, rules=RULES)

    return call


def _rekey(old: str, new: str) -> Callable[[World, int], Call]:
    def call(world: World, _noted: int) -> Call:
        keys = world.key(old), world.key(new)
        return lambda vault: vault.rekey(USER, *keys, rules=RULES)

    return call


def _renew(key: str) -> Callable[[World, int], Call]:
    def call(world: World, _noted: int) -> Call:
        provider = world.key(key)
        return lambda vault: vault.renew(USER, provider, rules=RULES)

    return call


def _unlock(key: str) -> Callable[[World, int], Call]:
    """Reading the key file is part of it."""
    return lambda world, _noted: lambda vault: vault.unlock(world.user, world.key(key), rules=RULES)


def _import(*, again: bool) -> Callable[[World, int], Call]:
    def call(world: World, _noted: int) -> Call:
        data = (world.path / "exported").read_bytes()
        keys = world.key("recovery"), world.key("a")
        return lambda vault: vault.import_(data, *keys, replace=again, rules=RULES)

    return call


def _export(world: World, _noted: int) -> Call:
    keys = world.key("a"), world.key("recovery")
    return lambda vault: len(vault.export(USER, *keys)) > 0


def _remove(key: str) -> Callable[[World, int], Call]:
    def call(world: World, _noted: int) -> Call:
        provider = world.key(key)
        return lambda vault: vault.remove(USER, provider)

    return call


def _opened(vault: Vault) -> bool:
    with vault.opened(USER) as template:
        return template.generation == 1


BOTH = ("keyring", "process")
SMALL = (1, 1)  # every entry rotates
OPERATIONS = (
    Operation("enroll, first", lambda *_: None, _enroll("a", again=False), may_be_gone=True, key_given=True),
    Operation("enroll, replace", enrolled(), _enroll("a", again=True), (("a", 1), ("a", 2)), key_given=True),
    Operation(
        "enroll over a damaged log", damaged_log, _enroll("a", again=True), (("a", 1), ("a", 2)), key_given=True,
        needs_restart=True,
    ),
    Operation("renew", enrolled(), _renew("a"), (("a", 1), ("a", 2)), key_given=True),
    Operation("rekey, key files", enrolled(), _rekey("a", "b"), (("a", 1), ("b", 2)), key_given=True),
    Operation(
        "rekey, passphrases", enrolled("one of them"), _rekey("one of them", "the other"),
        (("one of them", 1), ("the other", 2)), key_given=True, slow=True,
    ),
    Operation("rekey, counter", enrolled("tpm"), _rekey("tpm", "tpm"), (("tpm", 1), ("tpm", 2)), key_given=True),
    Operation(
        "rekey, counter to key file", enrolled("tpm"), _rekey("tpm", "a"), (("tpm", 1), ("a", 2)), key_given=True
    ),
    Operation("renew, counter", enrolled("tpm"), _renew("tpm"), (("tpm", 1), ("tpm", 2)), key_given=True),
    Operation(
        "enroll, counter", enrolled("tpm"), _enroll("tpm", again=True), (("tpm", 1), ("tpm", 2)), key_given=True
    ),
    Operation("unlock", enrolled(), _unlock("a"), key_given=True),
    Operation("unlock, wrong key", enrolled(), _unlock("b"), result="KeyUnavailableError"),
    Operation("attempt, match", enrolled(), _attempt(True), result=True, open_keys=BOTH),
    Operation("attempt, no match", enrolled(), _attempt(False), result=False, open_keys=BOTH),
    Operation("attempt, the last", enrolled(failures=9), _attempt(False), result=False, open_keys=BOTH),
    Operation("attempt, the last, match", enrolled(failures=9), _attempt(True), result=True),
    Operation("lock", enrolled(), lambda *_: lambda vault: vault.lock(USER), result=True, open_keys=BOTH),
    Operation("panic", two_users, lambda *_: lambda vault: vault.panic(), result=2, open_keys=BOTH),
    Operation("remove", enrolled(entries=2), _remove("a"), may_be_gone=True, open_keys=BOTH),
    Operation("remove, counter", enrolled("tpm"), _remove("tpm"), (("tpm", 1),), may_be_gone=True),
    Operation("export", enrolled(), _export, result=True, key_given=True),
    Operation("import, new", exported, _import(again=False), may_be_gone=True, key_given=True, result=USER),
    Operation(
        "import, replace", exported_and_enrolled, _import(again=True), (("a", 1), ("a", 2)), key_given=True, result=USER
    ),
    Operation(
        "audit rotation, attempt", enrolled(entries=3), _attempt(True), result=True, log=SMALL,
    ),
    Operation("audit rotation, unlock", enrolled(entries=3), _unlock("a"), key_given=True, log=SMALL),
    Operation(
        "audit rotation, renew", enrolled(entries=3), _renew("a"), (("a", 1), ("a", 2)), key_given=True, log=SMALL
    ),
    Operation(
        "audit rotation, enroll", enrolled(entries=3), _enroll("a", again=True), (("a", 1), ("a", 2)), key_given=True,
        log=SMALL,
    ),
    Operation(
        "audit restart", damaged_log, lambda world, _noted: (lambda key: lambda vault: vault.restart_log(USER, key))(
            world.key("a")
        ),
        key_given=True, needs_restart=True,
    ),
    Operation("state", enrolled(), lambda *_: lambda vault: vault.state(USER)[1] is not None, result=True),
    Operation("opened", enrolled(), lambda *_: _opened, result=True),
    Operation("audit", enrolled(), lambda *_: lambda vault: vault.audit(USER)[0].problem is None, result=True),
)  # fmt: skip
