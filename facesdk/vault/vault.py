"""Vault: what may be done with a user's sealed template, and when. Files, keys, attempts and audit meet here."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from facesdk.errors import (
    NotEnrolledError,
    PassphraseRequiredError,
    Reason,
    VaultError,
    VaultIntegrityError,
)  # fmt: skip
from facesdk.vault import moving
from facesdk.vault.attempt import PaidAttempt
from facesdk.vault.attempts import PassphraseRequired, State, charge
from facesdk.vault.audit.entry import FILES, AuditEvent, Head, check_labels
from facesdk.vault.audit.verify import Report
from facesdk.vault.audited import audited, head_for_audit
from facesdk.vault.clock import boot_ns
from facesdk.vault.closing import Closing
from facesdk.vault.format import parse_header
from facesdk.vault.keys.provider import KEY_SIZE, KeyKind, KeyProvider, random_secret
from facesdk.vault.learned import SampleSet
from facesdk.vault.open_keys import OpenKey, OpenKeys
from facesdk.vault.opening import Opening, Openings
from facesdk.vault.record import Record
from facesdk.vault.replacing import replaced
from facesdk.vault.rules import AttemptRules
from facesdk.vault.store import VaultFolder, not_enrolled
from facesdk.vault.template import Template, pack
from facesdk.vault.transfer import check_recovery, exported, header_of_exported, opened_export
from facesdk.vault.userfiles import UserFiles

if TYPE_CHECKING:
    from facesdk.vault.audit.entry import Entry
    from facesdk.vault.moving import MayMove


class Vault:
    """Opens, closes and changes the templates of a vault, one user at a time. now_ns: CLOCK_BOOTTIME, for tests.

    What takes a provider also opens the user's key, under the rules given, unless it was locked since
    `opening` began (the start of the call, where none is given). After any failure the old file opens, except that a
    failing fsync of the folder at the very end is reported with the new file in place.
    """

    def __init__(self, folder: VaultFolder, open_keys: OpenKeys, *, now_ns: Callable[[], int] = boot_ns) -> None:
        self.folder = folder
        self.open_keys = open_keys
        self._now_ns = now_ns
        self._openings = Openings(open_keys, lambda: self._now_ns())
        self._closing = Closing(folder, open_keys, self._locked)

    def begin(self, user: str, *, enrolling: bool = False) -> Opening | None:
        """The mark of an opening that begins here, for work that takes long before the key is opened.

        enrolling: a vault that is not there is made, so that a panic of any process can reach what is under way. None
        where there is no vault, and so nobody to be opened.
        """
        with contextlib.suppress(NotEnrolledError), self._locked("open the vault", user, create=enrolling) as file:
            return self._openings.begin(file)
        return None

    # --- with the provider's secret

    def enroll(
        self, record: Record, provider: KeyProvider, *, replace: bool, rules: AttemptRules, label: str = "",
        opening: Opening | None = None, camera: str = FILES,
    ) -> None:  # fmt: skip
        """Seals the record under a new key. AlreadyEnrolledError when the user has a file, even a damaged one."""
        opening = opening or self.begin(record.user, enrolling=True)
        with self._locked("write the vault", record.user, create=True) as file, random_secret(KEY_SIZE) as kek:
            opening = opening or self._openings.begin(file)
            keep, after = replaced(file, provider, replace=replace)
            held = file.put(
                kek, provider, lambda g: pack(record, kek, generation=g), keep=keep, after=after, rules=rules,
                label=f"{rules.name} {label}".rstrip(), event=AuditEvent.REPLACED if keep else AuditEvent.ENROLLED,
                camera=camera,
            )  # fmt: skip
            self._openings.save(file, held, opening)

    def unlock(
        self, user: str, provider: KeyProvider, *, rules: AttemptRules, label: str = "",
        opening: Opening | None = None, may_move: MayMove = lambda *_: False,
    ) -> None:  # fmt: skip
        """Enable the face with the key: from now on it can match, as the rules allow.

        A template of which enough was learned with another embedder is written anew with that, where may_move says that
        this set can take its place. Raises KeyUnavailableError for a wrong key, LockedOutError soon after several wrong
        ones, PassphraseRequiredError where a lock or panic came in between, RollbackError, VaultIntegrityError (for the
        audit log too), NotEnrolledError.
        """
        opening = opening or self.begin(user)
        with self._locked("open the vault", user) as file:
            file.folder.sweep()
            with file.opened(provider) as (header, kek, template):
                head = file.read_head(header, kek)
                self._check_log(file, head)
                file.folder.drop_heads(user, but=header.key_id)
                held = file.held(kek, template.generation, file.log.at_end(head), rules)
                moved = moving.moved(file, provider, (header, kek, template), rules=rules, may_move=may_move)
                if moved is not None:
                    held, head = moved, moved.head
                if not self._openings.save(file, held, opening):
                    raise PassphraseRequiredError(self._openings.why_closed(user))
                try:
                    file.record(AuditEvent.UNLOCKED, kek, head, label=f"{rules.name} {label}".rstrip())
                except BaseException:  # what is not in the log does not hold
                    self.open_keys.forget(user, Reason.NOT_UNLOCKED)
                    raise

    def rekey(
        self, user: str, old: KeyProvider, new: KeyProvider, *, rules: AttemptRules, opening: Opening | None = None
    ) -> None:
        """Wraps the same key by another provider or passphrase; nothing is enrolled again. Errors of unlock."""
        opening = opening or self.begin(user)
        with self._locked("write the vault", user) as file, file.opened(old) as (header, kek, template):
            self._check_log(file, file.read_head(header, kek))
            same = new.kind is old.kind
            held = file.put(
                kek, new, template.with_generation, event=AuditEvent.REKEYED, rules=rules,
                keep=header.section if same else None, old=(header, kek), after=template.generation,
            )  # fmt: skip
            if not same:
                old.destroy(header.section)
            self._openings.save(file, held, opening)

    def unlearn(self, user: str, provider: KeyProvider, *, rules: AttemptRules, opening: Opening | None = None) -> None:
        """Forget for good what was learned: turned anew, the template is of no use to it. Errors of unlock.

        What a move to another embedder has put in the enrollment's place stays.
        """
        opening = opening or self.begin(user)
        with self._locked("write the vault", user) as file, file.opened(provider) as (header, kek, template):
            self._check_log(file, file.read_head(header, kek))
            held = file.put(
                kek, provider, lambda g: template.repacked(kek, generation=g), event=AuditEvent.UNLEARNED, rules=rules,
                keep=header.section, old=(header, kek), after=template.generation,
            )  # fmt: skip
            self._openings.save(file, held, opening)
            with contextlib.suppress(OSError):  # of no use any more, there or not
                file.folder.drop_learned(user)

    def renew(self, user: str, provider: KeyProvider, *, rules: AttemptRules, opening: Opening | None = None) -> None:
        """Re-randomise the template under a new key, so that a leaked copy is useless."""
        opening = opening or self.begin(user)
        with (
            self._locked("write the vault", user) as file,
            file.opened(provider) as (header, kek, template),
            random_secret(KEY_SIZE) as fresh,
        ):
            self._check_log(file, file.read_head(header, kek))
            held = file.put(
                fresh, provider, lambda g: template.repacked(fresh, generation=g), event=AuditEvent.RENEWED,
                rules=rules, keep=header.section, old=(header, kek), after=template.generation,
            )  # fmt: skip
            self._openings.save(file, held, opening)

    @contextlib.contextmanager
    def read(self, user: str, provider: KeyProvider) -> Iterator[Template]:
        """The template, opened for this once: no key stays open, and only a wrong one is logged. Errors of unlock."""
        with self._locked("read the vault", user) as file, file.opened(provider) as (_, kek, template):
            template.learned = file.learned(kek, template)
            yield template

    def export(self, user: str, provider: KeyProvider, recovery: KeyProvider) -> bytes:
        """The sealed template for another device, under a key of its own from the recovery passphrase; never plain."""
        check_recovery(recovery)
        with self._locked("read the vault", user) as file, file.opened(provider) as (header, kek, template):
            file.record(AuditEvent.EXPORTED, kek, file.read_head(header, kek))
            return exported(template, user, recovery)

    def import_(
        self, data: bytes, recovery: KeyProvider, provider: KeyProvider, *, replace: bool, rules: AttemptRules,
        opening: Opening | None = None,
    ) -> str:  # fmt: skip
        """The user of an exported file, enrolled here under a new key. Errors of unlock and enroll."""
        header = header_of_exported(data, recovery)
        opening = opening or self.begin(header.user, enrolling=True)
        with (
            self._locked("write the vault", header.user, create=True) as file,
            opened_export(data, header, recovery) as template,
            random_secret(KEY_SIZE) as kek,
        ):
            opening = opening or self._openings.begin(file)
            keep, after = replaced(file, provider, replace=replace)
            held = file.put(
                kek, provider, lambda g: template.repacked(kek, generation=g), keep=keep, after=after,
                event=AuditEvent.IMPORTED, rules=rules,
            )  # fmt: skip
            self._openings.save(file, held, opening)
        return header.user

    def restart_log(self, user: str, provider: KeyProvider) -> None:
        """Sets a damaged audit log aside and begins a new one that says so; the passphrase is needed after it."""
        with self._locked("write the vault", user) as file, file.unwrapped(provider) as (header, kek):
            file.restart_log(header, kek)
            self.open_keys.forget(user, Reason.LOCKED)

    # --- without a secret

    def now_ns(self) -> int:
        """The time that states go by: CLOCK_BOOTTIME in nanoseconds."""
        return self._now_ns()

    def kind(self, user: str) -> KeyKind:
        """Which kind of key seals the user's template. NotEnrolledError, VaultIntegrityError, VaultVersionError."""
        with self._locked("read the vault", user, shared=True) as file:
            if not file.exists():
                raise not_enrolled(user, self.folder.path)
            return parse_header(file.read()).kind

    def close(self) -> None:
        """Wipe the keys that are open in this process; those in the kernel's keyring stay for other programs."""
        self.open_keys.close()

    # --- with the key in memory

    def state(self, user: str) -> tuple[State, OpenKey | None]:
        """The state that holds now, and what is open, without its key, if anything is. An expired key is forgotten."""
        with self._locked("look into the vault", user, shared=True) as file:
            if not file.exists():
                return PassphraseRequired(Reason.NOT_UNLOCKED), None
            try:
                with self._openings.held(file) as held:
                    return held.state, held  # closed when it arrives
            except PassphraseRequiredError as error:
                return PassphraseRequired(Reason(error.reason)), None

    @contextlib.contextmanager
    def opened(self, user: str, *, learned: bool = False) -> Iterator[Template]:
        """The template, with the key in memory. PassphraseRequiredError where it is not, LockedOutError in a delay.

        learned: with what was learned since the enrollment.
        """
        with self._locked("read the vault", user, shared=True) as file:
            if not file.exists():
                raise not_enrolled(user, self.folder.path)
            with self._openings.held(file) as held:
                charge(held.state, now_ns=self._now_ns(), rules=held.rules)  # raises where no attempt may be made
                template = self._template(file, held, learned=learned)
        with template:
            yield template

    def attempt(
        self, user: str, compare: Callable[[Template], bool], *, generation: int, camera: str, label: str,
        learned: bool = False, known: Template | None = None,
    ) -> bool:  # fmt: skip
        """Whether the comparison is a match, the attempt paid for and logged before it is made, given back by a match.

        A match counts only once it is in the audit log: what stops that raises, and does not unlock. generation: of the
        template that the probe was made for. learned: as in opened. known: a template that `opened` gave and that is
        still open, which saves opening it again. Raises PassphraseRequiredError, LockedOutError, VaultIntegrityError,
        and InputError for a camera or label that no entry can have, before anything is paid.
        """
        with (
            self._at_generation(
                "verify against the vault", user, generation, camera=camera, label=label, learned=learned, known=known
            ) as (file, held, template, label),
            file.heads(held.kek, template.key_id) as heads,
        ):
            paid = PaidAttempt(file, held, heads, self._openings, now_ns=self._now_ns, camera=camera, label=label)
            return paid.matched() if compare(template) is True else paid.mismatched()

    def learn(
        self, user: str, change: Callable[[Template], Sequence[SampleSet] | None], *, generation: int, camera: str,
        label: str,
    ) -> bool:  # fmt: skip
        """Put what `change` makes of the learned samples in their place, logged; None from it leaves all as it is.

        Call it after a match alone; the vault cannot tell. generation: of the template that the samples were made for.
        Returns whether anything was written. Raises PassphraseRequiredError where the key was locked or the template
        changed meanwhile, VaultIntegrityError for a damaged log, VaultError.
        """
        with self._at_generation("write the vault", user, generation, camera=camera, label=label, learned=True) as (
            file,
            held,
            template,
            label,
        ):
            sets = change(template)
            if sets is None:
                return False
            if template.learned is not None and template.learned.problem:
                file.folder.drop_learned(user)  # what cannot be removed cannot be replaced: said before it is logged
            head = file.newest_head(held.kek, held.head)
            head = file.record(AuditEvent.LEARNED, held.kek, head, camera=camera, label=label)
            if not self.open_keys.save(user, replace(held, head=head)):
                raise PassphraseRequiredError(self._openings.why_closed(user))
            file.write_learned(held.kek, sets, template)
            return True

    def lock(self, user: str) -> bool:
        """Forget the user's key, before anything that could wait or fail; then log it. Whether a key was open here.

        What other processes opened for themselves is closed too, by the entry in the log: at their next use.
        NotLoggedError where the key is forgotten and the log could not be written.
        """
        return self._closing.lock(user)

    def panic(self) -> int:
        """Forget every open key of this vault at once, before anything that could wait or fail; then log it.

        Returns how many were open here. An enrollment or unlock that is under way, in any process, opens nothing. What
        fails for one user is raised after all others were done; NotLoggedError as in lock.
        """
        return self._closing.panic()

    def remove(self, user: str, provider: KeyProvider | None = None) -> None:
        """Destroys key, template, heads and audit log of the user; what the provider keeps outside them too, if given.

        What fails once the template is gone is reported after everything else is gone too.
        """
        self._closing.remove(user, provider)

    def audit(self, user: str, provider: KeyProvider | None = None) -> tuple[Report, list[Entry], bool]:
        """What the audit log holds, its entries where it is whole, and whether a sealed head vouched for it.

        With the key, given or open, everything up to the head is checked; without it the chain alone. Needs
        no disk that can be written to, on which a wrong key cannot be logged.
        """
        if provider is not None:
            try:
                # A wrong key is an entry, which only the exclusive lock allows.
                with self._locked("read the vault", user) as file:
                    return self._audited(file, provider)
            except VaultError as error:
                if error.errno != errno.EROFS:
                    raise
        with self._locked("read the vault", user, shared=True) as file:
            return self._audited(file, provider)

    def _audited(self, file: UserFiles, provider: KeyProvider | None) -> tuple[Report, list[Entry], bool]:
        if not file.exists():
            raise not_enrolled(file.user, self.folder.path)
        found = audited(file, head_for_audit(file, provider, self.open_keys))
        if found[0].problem is not None and found[0].problem.sealed:
            self.open_keys.forget(file.user, Reason.LOCKED)
        return found

    # --- inside the lock

    def _template(
        self, file: UserFiles, held: OpenKey, *, learned: bool, known: Template | None = None
    ) -> Template:  # fmt: skip
        template = self._openings.template(file, held, known=known)
        if learned:
            if template.learned is not None:
                template.learned.close()
            template.learned = file.learned(held.kek, template)
        return template

    @contextlib.contextmanager
    def _at_generation(
        self, doing: str, user: str, generation: int, *, camera: str, label: str, learned: bool,
        known: Template | None = None,
    ) -> Iterator[tuple[UserFiles, OpenKey, Template, str]]:  # fmt: skip
        """The user's file, what is held of it, the template and the entry's label with the rules in front of it."""
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(self._locked(doing, user))
            held = stack.enter_context(self._openings.held(file))
            template = self._template(file, held, learned=learned, known=known)
            if template is not known:  # that one is for its owner to close
                stack.enter_context(template)
            label = f"{held.rules.name} {label}".rstrip()
            check_labels(camera, label)
            if template.generation != generation:
                raise PassphraseRequiredError(Reason.CHANGED)
            yield file, held, template, label

    def _check_log(self, file: UserFiles, head: Head) -> None:
        """Check the log; if it is damaged, forget the key and raise VaultIntegrityError."""
        try:
            file.check_log(head)
        except VaultIntegrityError:
            self.open_keys.forget(file.user, Reason.LOCKED)
            raise

    @contextlib.contextmanager
    def _locked(self, doing: str, user: str, *, create: bool = False, shared: bool = False) -> Iterator[UserFiles]:
        with self.folder.locked(doing, user=user, create=create, shared=shared) as folder:
            yield UserFiles(folder, user, self._now_ns)
