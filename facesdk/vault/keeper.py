"""Keeper: what may be done with a user's sealed template, and when. Files, keys, attempts and audit meet here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from facesdk.errors import (
    AlreadyEnrolledError,
    FaceSdkError,
    InputError,
    KeyUnavailableError,
    PassphraseRequiredError,
    Reason,
    RollbackError,
    StoreIntegrityError,
)  # fmt: skip
from facesdk.policy import AttemptRules
from facesdk.types import Decision
from facesdk.vault import format_v1
from facesdk.vault.attempts import Charged, Required, State, charge, step
from facesdk.vault.attempts import Event as Happens
from facesdk.vault.audit_entry import Event, Head
from facesdk.vault.audit_verify import Report
from facesdk.vault.format import binding, parse_header, seal, unseal, version_of
from facesdk.vault.keys import KEY_SIZE, KeyKind, KeyProvider, random_secret
from facesdk.vault.record import Record, Template, pack
from facesdk.vault.session import Held, Sessions
from facesdk.vault.store import Vault, not_enrolled
from facesdk.vault.userfile import UserFile, check_kind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from facesdk.vault.audit_entry import Entry

    ReferenceOf = Callable[[list[npt.NDArray[np.float32]]], npt.NDArray[np.float32]]


def boot_ns() -> int:
    """Nanoseconds since the machine started, suspend included; the wall clock has no part in it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Keeper:
    """Opens, closes and changes the templates of a vault, one user at a time. now_ns: CLOCK_BOOTTIME, for tests.

    What takes a provider also opens the user's key in the session, under the rules given. After any failure the old
    file opens, except that a failing fsync of the folder at the very end is reported with the new file in place.
    """

    def __init__(self, vault: Vault, sessions: Sessions, *, now_ns: Callable[[], int] = boot_ns) -> None:
        self.vault = vault
        self.sessions = sessions
        self._now_ns = now_ns

    # --- with the provider's secret

    def enroll(
        self, record: Record, provider: KeyProvider, *, replace: bool, rules: AttemptRules, label: str = ""
    ) -> None:
        """Seals the record under a new key. AlreadyEnrolledError when the user has a file, even a damaged one."""
        with self._locked("write the vault", record.user, create=True) as file, random_secret(KEY_SIZE) as kek:
            there = _check_free(file, replace=replace)
            with _replacing(file, provider):
                held = file.put(
                    kek, provider, lambda g: pack(record, kek, generation=g), rules=rules,
                    label=f"{rules.name} {label}".rstrip(), event=Event.REPLACED if there else Event.ENROLLED,
                )  # fmt: skip
            self.sessions.save(record.user, held)

    def unlock(
        self, user: str, provider: KeyProvider, *, rules: AttemptRules, reference_of: ReferenceOf, label: str = ""
    ) -> None:
        """Opens the user's key: from now on a face can match, as the rules allow.

        A file of format version 1 is written anew, its reference made by reference_of. Raises KeyUnavailableError for a
        wrong key, RollbackError, StoreIntegrityError (for the audit log too), NotEnrolledError.
        """
        with self._locked("open the vault", user) as file:
            if version_of(file.read()) == 1:
                self._migrate(file, provider, rules=rules, reference_of=reference_of)
            file.folder.sweep()
            with file.opened(provider) as (header, kek, template):
                head = file.read_head(header, kek)
                self._check_log(file, head)
                head = file.record(Event.UNLOCKED, kek, head, label=f"{rules.name} {label}".rstrip())
                file.folder.drop_heads(user, but=header.key_id)
                self.sessions.save(user, file.held(kek, template.generation, head, rules))

    def rekey(self, user: str, old: KeyProvider, new: KeyProvider, *, rules: AttemptRules) -> None:
        """Wraps the same key by another provider or passphrase; nothing is enrolled again. Errors of unlock."""
        with self._locked("write the vault", user) as file, file.opened(old) as (header, kek, template):
            self._check_log(file, file.read_head(header, kek))
            same = new.kind is old.kind
            held = file.put(
                kek, new, template.with_generation, event=Event.REKEYED, rules=rules,
                keep=header.section if same else None, old=(header, kek), after=template.generation,
            )  # fmt: skip
            if not same:
                old.destroy(header.section)
            self.sessions.save(user, held)

    def renew(self, user: str, provider: KeyProvider, *, rules: AttemptRules) -> None:
        """Turns the features anew under a new key: what leaked of the old template is of no use any more."""
        with (
            self._locked("write the vault", user) as file,
            file.opened(provider) as (header, kek, template),
            random_secret(KEY_SIZE) as fresh,
        ):
            self._check_log(file, file.read_head(header, kek))
            held = file.put(
                fresh, provider, lambda g: template.repacked(fresh, generation=g), event=Event.RENEWED, rules=rules,
                keep=header.section, old=(header, kek), after=template.generation,
            )  # fmt: skip
            self.sessions.save(user, held)

    def export(self, user: str, provider: KeyProvider, recovery: KeyProvider) -> bytes:
        """The sealed template for another device, under a key of its own from the recovery passphrase; never plain."""
        _check_recovery(recovery)
        with (
            self._locked("read the vault", user) as file,
            file.opened(provider) as (header, kek, template),
            random_secret(KEY_SIZE) as fresh,
        ):
            head = file.record(Event.EXPORTED, kek, file.read_head(header, kek))
            found = self.sessions.load(user)
            if isinstance(found, Held):
                self.sessions.save(user, replace(found, head=head))
            section = recovery.wrap(fresh, binding=binding(user, recovery.kind))
            with template.repacked(fresh, generation=0) as payload:
                return seal(payload, fresh, user=user, kind=recovery.kind, section=section)

    def import_(
        self, data: bytes, recovery: KeyProvider, provider: KeyProvider, *, replace: bool, rules: AttemptRules
    ) -> str:
        """The user of an exported file, enrolled here under a new key. Errors of unlock and enroll."""
        _check_recovery(recovery)
        header = parse_header(data)
        check_kind(header, recovery)
        with (
            self._locked("write the vault", header.user, create=True) as file,
            recovery.unwrap(header.section, binding=header.binding) as exported,
            Template(unseal(data, exported, user=header.user), exported, user=header.user) as template,
            random_secret(KEY_SIZE) as kek,
        ):
            _check_free(file, replace=replace)
            with _replacing(file, provider):
                held = file.put(
                    kek, provider, lambda g: template.repacked(kek, generation=g), event=Event.IMPORTED, rules=rules
                )
            self.sessions.save(header.user, held)
        return header.user

    def restart_log(self, user: str, provider: KeyProvider) -> None:
        """Sets a damaged audit log aside and begins a new one that says so; the passphrase is needed after it."""
        with self._locked("write the vault", user) as file, file.unwrapped(provider) as (header, kek):
            file.restart_log(header, kek)
            self.sessions.forget(user, Reason.LOCKED)

    # --- with the key in memory

    def state(self, user: str) -> tuple[State, Held | None]:
        """The state that holds now, and the opened key if there is one. An expired key is forgotten on the way."""
        with self._locked("look into the vault", user, shared=True) as file:
            if not file.exists():
                return Required(Reason.NOT_UNLOCKED), None
            try:
                held = self._held(user)
            except PassphraseRequiredError:
                found = self.sessions.load(user)
                return (found if isinstance(found, Required) else Required(Reason.NOT_UNLOCKED)), None
            return held.state, held

    @contextlib.contextmanager
    def opened(self, user: str) -> Iterator[Template]:
        """The template, with the key in memory. PassphraseRequiredError where it is not, LockedOutError in a delay."""
        with self._locked("read the vault", user, shared=True) as file:
            if not file.exists():
                raise not_enrolled(user, self.vault.path)
            held = self._held(user)
            charge(held.state, now_ns=self._now_ns(), rules=held.rules)  # raises where no attempt may be made
            template = self._template(file, held)
        with template:
            yield template

    def attempt(
        self, user: str, compare: Callable[[Template], bool], *, generation: int, camera: str, label: str
    ) -> bool:
        """Whether the comparison is a match, the attempt paid for before it is made and given back by a match.

        A match counts only once it is in the audit log: what stops that raises, and does not unlock. generation: of the
        template that the probe was made for. Raises PassphraseRequiredError, LockedOutError, StoreIntegrityError.
        """
        with self._locked("verify against the vault", user) as file:
            held = self._held(user)
            with self._template(file, held) as template:
                if template.generation != generation:
                    raise PassphraseRequiredError("the template was changed meanwhile")
                file.log.check(held.head)
                charged = charge(held.state, now_ns=self._now_ns(), rules=held.rules)
                self._pay(user, held, charged.after)
                matched = compare(template) is True
            outcome = Decision.MATCH if matched else Decision.NON_MATCH
            label = f"{held.rules.name} {label}".rstrip()
            head = file.record(Event.VERIFIED, held.kek, held.head, outcome=outcome, camera=camera, label=label)
            return self._settle(file, replace(held, head=head), charged, matched=matched)

    def lock(self, user: str) -> None:
        """Forgets the user's key, before anything that could wait or fail; then logs it."""
        self._close(user, Reason.LOCKED, Event.LOCKED)

    def panic(self) -> None:
        """Forgets every open key of this vault at once, before anything that could wait or fail; then logs it.

        What fails for one user is raised after all others were done.
        """
        with contextlib.ExitStack() as rest:  # run backwards, each whatever became of those before
            for user in self._users():
                rest.callback(self._close, user, Reason.PANIC, Event.PANIC)
                rest.callback(self.sessions.forget, user, Reason.PANIC)
            rest.callback(self.sessions.forget_all, Reason.PANIC)

    def remove(self, user: str, provider: KeyProvider | None = None) -> None:
        """Destroys key, template, heads and audit log of the user; what the provider keeps outside them too, if given.

        What fails once the template is gone is reported after everything else is gone too.
        """
        self.sessions.forget(user, Reason.REMOVED)
        with self._locked("remove from the vault", user) as file, contextlib.ExitStack() as rest:
            section = None if provider is None else file.section(provider.kind)
            try:
                file.folder.destroy(user)
            finally:
                if not file.exists():
                    if provider is not None and section is not None:
                        rest.callback(provider.destroy, section)
                    rest.callback(file.folder.drop_log, user)
                    rest.callback(file.folder.drop_heads, user)
                    rest.callback(self.sessions.forget, user, Reason.REMOVED)

    def audit(self, user: str, provider: KeyProvider | None = None) -> tuple[Report, list[Entry], bool]:
        """What the audit log holds, its entries where it is whole, and whether a sealed head vouched for it.

        With the key, given or in the session, everything up to the head is checked; without it the chain alone.
        """
        with self._locked("read the vault", user) as file:
            if not file.exists():
                raise not_enrolled(user, self.vault.path)
            head: Head | None = None
            found = self.sessions.load(user)
            if provider is not None:
                with file.unwrapped(provider) as (header, kek):
                    head = file.read_head(header, kek)
            elif isinstance(found, Held):
                head = found.head
            report = file.log.verify(head)
            if report.problem is not None and report.problem.sealed:
                self.sessions.forget(user, Reason.LOCKED)
            return report, [] if report.problem else file.log.read(), head is not None

    # --- inside the lock

    def _check_log(self, file: UserFile, head: Head) -> None:
        """Nothing; where the log is not whole, StoreIntegrityError, and the key is forgotten."""
        try:
            file.check_log(head)
        except StoreIntegrityError:
            self.sessions.forget(file.user, Reason.LOCKED)
            raise

    @contextlib.contextmanager
    def _locked(self, doing: str, user: str, *, create: bool = False, shared: bool = False) -> Iterator[UserFile]:
        with self.vault.locked(doing, user=user, create=create, shared=shared) as folder:
            yield UserFile(folder, user, self._now_ns)

    def _held(self, user: str) -> Held:
        found = self.sessions.load(user)
        if isinstance(found, Required):
            raise PassphraseRequiredError(found.reason.value)
        state = step(found.state, Happens.TIME, now_ns=self._now_ns(), rules=found.rules)
        if isinstance(state, Required):
            self.sessions.forget(user, state.reason)
            raise PassphraseRequiredError(state.reason.value)
        return found

    def _template(self, file: UserFile, held: Held) -> Template:
        """The template that the held key was opened for; anything else needs the passphrase."""
        data = file.read()
        try:
            template = Template(unseal(data, held.kek, user=file.user), held.kek, user=file.user)
        except KeyUnavailableError:
            self.sessions.forget(file.user, Reason.CHANGED)
            raise PassphraseRequiredError(Reason.CHANGED.value) from None
        if template.generation == held.generation:
            return template
        template.close()
        self.sessions.forget(file.user, Reason.CHANGED)
        if template.generation < held.generation:
            raise RollbackError(f"an older file of {file.user!r} was put back: give the passphrase, or enroll again")
        raise PassphraseRequiredError(Reason.CHANGED.value)

    def _pay(self, user: str, held: Held, after: State) -> None:
        """Saves the state after the charge, the last attempt's by forgetting the key."""
        if isinstance(after, Required):
            self.sessions.forget(user, after.reason)
        elif not self.sessions.save(user, replace(held, state=after)):
            raise PassphraseRequiredError(self._why(user))

    def _settle(self, file: UserFile, held: Held, charged: Charged, *, matched: bool) -> bool:
        """Saves the state after an attempt; True only for a match that nothing overtook."""
        found = self.sessions.load(file.user)
        saved: State = found if isinstance(found, Required) else found.state
        decide = charged.match if matched else charged.mismatch
        state = decide(saved, now_ns=self._now_ns(), rules=held.rules)
        if not isinstance(state, Required):
            if isinstance(
                saved, Required
            ):  # the last attempt's: forgotten by its charge, it comes back as a new opening
                kept = self.sessions.save(file.user, replace(held, state=state, ticket=0), after=saved.reason)
            else:
                kept = self.sessions.save(file.user, replace(held, state=state))
            if kept:
                return matched
            raise PassphraseRequiredError(self._why(file.user))
        self.sessions.forget(file.user, state.reason)
        if state.reason is Reason.FAILURES:
            file.record(Event.LOCKED_OUT, held.kek, held.head)
        if matched:
            raise PassphraseRequiredError(state.reason.value)
        return False

    def _why(self, user: str) -> str:
        found = self.sessions.load(user)
        return found.reason.value if isinstance(found, Required) else "the key was opened anew meanwhile"

    def _users(self) -> list[str]:
        try:
            return self.vault.users()
        except FaceSdkError:  # a folder that cannot be listed has no log to write to either
            return []

    def _close(self, user: str, reason: Reason, event: Event) -> None:
        """Forgets the key; then, under the lock, logs it, sealed where the key was there to seal it."""
        found: Held | Required = Required(Reason.NOT_UNLOCKED)
        try:
            with contextlib.suppress(FaceSdkError):  # what cannot be read goes all the same
                found = self.sessions.load(user)
        finally:
            self.sessions.forget(user, reason)
        with self._locked("lock the vault", user) as file:
            with contextlib.suppress(FaceSdkError):  # an unlock or an attempt under way may have opened it in between
                again = self.sessions.load(user)
                found = again if isinstance(again, Held) else found
            self.sessions.forget(user, reason)
            if not file.exists():
                raise not_enrolled(user, self.vault.path)
            if isinstance(found, Held):
                with contextlib.suppress(StoreIntegrityError):  # outdated by another process: logged without the key
                    file.record(event, found.kek, found.head)
                    return
            if isinstance(found, Held) or reason is Reason.PANIC:
                file.log.append(event, head=None)

    def _migrate(
        self, file: UserFile, provider: KeyProvider, *, rules: AttemptRules, reference_of: ReferenceOf
    ) -> None:
        """Writes a file of version 1 anew."""
        if not isinstance(provider, format_v1.DerivingKey):
            raise InputError(f"the file of {file.user!r} has format version 1: give its passphrase or key file")
        try:
            old = format_v1.unseal(file.read(), provider, user=file.user)
        except KeyUnavailableError:
            file.log.append(Event.PASSPHRASE_REFUSED, head=None)
            raise
        try:
            record = Record(
                user=file.user, embedder=old.embedder, model_ids=old.model_ids, samples=old.samples,
                reference=reference_of(list(old.samples)), created_unix_s=old.created_unix_s, consent=old.consent,
            )  # fmt: skip
        except InputError as error:
            raise StoreIntegrityError(f"the sealed content is not a record: {error}") from error
        with random_secret(KEY_SIZE) as kek:
            file.put(
                kek, provider, lambda g: pack(record, kek, generation=g), event=Event.UPDATED, rules=rules,
                after=old.generation,
            )  # fmt: skip


@contextlib.contextmanager
def _replacing(file: UserFile, provider: KeyProvider) -> Iterator[None]:
    """Nothing; what the section of a replaced file holds elsewhere is freed once the new file is there.

    Its counter does not go on: who has not opened the file does not know whether a kill left it one behind.
    """
    old = file.section(provider.kind)
    yield
    if old is not None:
        with contextlib.suppress(KeyUnavailableError):  # cleared, or another machine's: there is nothing to free
            provider.destroy(old)


def _check_free(file: UserFile, *, replace: bool) -> bool:
    """Whether the user has a file, which may be replaced; AlreadyEnrolledError where it may not."""
    there = file.exists()
    if there and not replace:
        raise already_enrolled(file.user)
    return there


def already_enrolled(user: str) -> AlreadyEnrolledError:
    return AlreadyEnrolledError(f"{user!r} is enrolled already: give replace=True to enroll again")


def _check_recovery(recovery: KeyProvider) -> None:
    if recovery.kind is not KeyKind.RECOVERY:
        raise InputError("an exported file is sealed with a recovery passphrase: PassphraseKey(..., kind=RECOVERY)")
