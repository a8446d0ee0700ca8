"""UserFiles: one user's sealed template, its audit log and the log's sealed head, while the vault's lock is held.

A change is written in this order: an entry in the log, the log's head sealed under the (new) KEK, the template, the
provider's counter. A kill in between leaves the old or the new template to be opened, and a log that fits it.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence

from facesdk._core import Secret
from facesdk.errors import (
    FaceSdkError,
    InputError,
    KeyUnavailableError,
    LockedOutError,
    PassphraseRequiredError,
    RollbackError,
    VaultIntegrityError,
)  # fmt: skip
from facesdk.types import Decision
from facesdk.vault.attempts import NS, Ready
from facesdk.vault.audit.entry import (
    FILES,
    HINT,
    AuditEvent,
    Entry,
    Head,
    open_entries,
    undecided,
)  # fmt: skip
from facesdk.vault.audit.log import AuditLog
from facesdk.vault.format import Header, binding, check_user_of, key_id, parse_header, seal
from facesdk.vault.heads import Heads, head_key
from facesdk.vault.keys.provider import KeyKind, KeyProvider
from facesdk.vault.learned import Learned, SampleSet, open_learned, seal_learned
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.rules import AttemptRules
from facesdk.vault.store import LockedFolder
from facesdk.vault.template import Template

# Wrong passphrases in a row that cost nothing but their derivation; then 1 s, doubled by each, up to MAX_WAIT_S.
FREE_REFUSALS, MAX_WAIT_S = 3, 300
UNLOGGED_WAIT_S = 2.0  # after a wrong one that cannot be logged
LOOK_BACK = 100_000  # entries; more than a log can have
PROVES_KEY = frozenset(
    {
        AuditEvent.UNLOCKED, AuditEvent.ENROLLED, AuditEvent.REPLACED, AuditEvent.UPDATED, AuditEvent.RENEWED,
        AuditEvent.REKEYED, AuditEvent.EXPORTED, AuditEvent.IMPORTED, AuditEvent.LOG_RESTARTED,
        AuditEvent.UNLEARNED,
    }
)  # fmt: skip


class UserFiles:
    """The files of one user in a locked folder. now_ns: CLOCK_BOOTTIME."""

    def __init__(self, folder: LockedFolder, user: str, now_ns: Callable[[], int]) -> None:
        self.folder = folder
        self.user = user
        self.log: AuditLog = folder.log(user, boot_ns=now_ns)
        self._now_ns = now_ns

    def exists(self) -> bool:
        """Whether the user has a file, intact or not."""
        return self.folder.exists(self.user)

    def read(self) -> bytes:
        """The sealed bytes. NotEnrolledError and the errors of files.read_guarded."""
        return self.folder.read(self.user)

    def section(self, kind: KeyKind) -> bytes | None:
        """The provider's section, if there is a whole file of this kind of key; else None."""
        try:
            header = parse_header(self.read())
        except FaceSdkError:
            return None
        return header.section if header.kind is kind else None

    @contextlib.contextmanager
    def unwrapped(self, provider: KeyProvider) -> Iterator[tuple[Header, Secret]]:
        """Header and KEK. KeyUnavailableError for a wrong key, which is logged."""
        with self._unwrapped(self.read(), provider) as opened:
            yield opened

    @contextlib.contextmanager
    def _unwrapped(self, data: bytes, provider: KeyProvider) -> Iterator[tuple[Header, Secret]]:
        _check_seals_templates(provider)
        header = check_user_of(parse_header(data), self.user)
        check_kind(header, provider)
        self.check_wait()
        try:
            kek = provider.unwrap(header.section, binding=header.binding)
        except PassphraseRequiredError:
            raise
        except KeyUnavailableError:
            self.refused()
            raise
        with kek:
            yield header, kek

    def refused(self) -> None:
        """Logs a wrong key. The refusal is what matters, whatever the state of the log or the disk."""
        try:
            self.note(AuditEvent.PASSPHRASE_REFUSED)
        except (VaultIntegrityError, OSError):  # a full disk, a damaged log: nobody else would know, and wait
            time.sleep(UNLOGGED_WAIT_S)

    def note(self, event: AuditEvent, *, camera: str = FILES, label: str = "") -> Head:
        """The head after an entry that is made without the key. VaultIntegrityError for a damaged end of the log."""
        return self.log.note(event, waiting=self.open_entries(), camera=camera, policy=label)

    def check_wait(self) -> None:
        """LockedOutError while a wrong passphrase has to be waited for: longer each time, for every process."""
        refused = 0
        last_ns = 0
        for entry in itertools.islice(self.log.recent(), LOOK_BACK):
            if entry.event in PROVES_KEY:
                break
            if entry.event is AuditEvent.PASSPHRASE_REFUSED:
                refused, last_ns = refused + 1, last_ns or entry.boot_ns
        if refused < FREE_REFUSALS:
            return
        wait_s = min(MAX_WAIT_S, 1 << min(refused - FREE_REFUSALS, 20))
        now_ns = self._now_ns()
        waited_ns = now_ns - last_ns if last_ns <= now_ns else now_ns  # written before a restart: since that
        if waited_ns < wait_s * NS:
            raise LockedOutError(
                -(-(wait_s * NS - waited_ns) // NS),
                hint="wait, then give the right passphrase: each wrong one in a row doubles the wait",
            )

    @contextlib.contextmanager
    def opened(self, provider: KeyProvider) -> Iterator[tuple[Header, Secret, Template]]:
        """Header, KEK and template, after the provider's counter said that this is the newest file. RollbackError."""
        data = self.read()
        with (
            self._unwrapped(data, provider) as (header, kek),
            Template.opened(data, kek, user=self.user) as template,
        ):
            self._check_counter(header, provider, template)
            yield header, kek, template

    def read_head(self, header: Header, kek: Secret) -> Head:
        """The sealed head of the log. VaultIntegrityError where it is missing or damaged."""
        with head_key(kek) as key:
            return Heads(self.folder, self.user, key, header.key_id).newest()

    def check_log(self, head: Head) -> None:
        """Check what the head vouches for in the log. VaultIntegrityError where anything is not as it was written."""
        problem = self.log.verify(head).problem
        if problem is not None and problem.sealed:
            self.log.check_files()  # where a file is not as we keep it, its own error says what to do
            hint = None if HINT in problem.message else HINT
            raise VaultIntegrityError(f"the audit log of {self.user!r}: {problem.message}", hint=hint)

    @contextlib.contextmanager
    def heads(self, kek: Secret, identifier: bytes | None = None) -> Iterator[Heads]:
        """The sealed head under this KEK, to be read and written several times. identifier: its id, where known."""
        with head_key(kek) as key:
            yield Heads(self.folder, self.user, key, identifier or key_id(kek))

    def newest_head(self, kek: Secret, at_least: Head) -> Head:
        """As Heads.newest."""
        with self.heads(kek) as heads:
            return heads.newest(at_least)

    def open_entries(self) -> tuple[Entry, ...]:
        """What the head holds that is not in the log yet, read without its key; none where there is no head."""
        try:
            identifier = parse_header(self.read()).key_id
            sealed = self.folder.read_head(self.user, identifier)
            attempt = undecided(self.folder.read_attempt(self.user, identifier), sealed)
            return (*(open_entries(sealed) or ()), *([attempt] if attempt else []))
        except FaceSdkError:  # what is wrong with those files is for who opens them to say
            return ()

    def write_head(self, kek: Secret, head: Head, *, durable_name: bool = True) -> None:
        """Seals the head under this KEK. durable_name: not needed where an older head fits what the log holds too."""
        with self.heads(kek) as heads:
            heads.write(head, durable_name=durable_name)

    def learned(self, kek: Secret, template: Template) -> Learned:
        """What was learned since the enrollment; empty where the file is of no use, and then with why.

        The enrolled samples decide without it.
        """
        try:
            data = self.folder.read_learned(self.user, key_id(kek))
            return open_learned(kek, data, user=self.user, salt=template.salt) if data else Learned()
        except (FaceSdkError, OSError) as error:
            return Learned(problem=str(error))

    def write_learned(self, kek: Secret, sets: Sequence[SampleSet], template: Template) -> None:
        """Seals what was learned in place of what was there."""
        sealed = seal_learned(kek, sets, user=self.user, salt=template.salt)
        self.folder.write_learned(self.user, key_id(kek), sealed)

    def record(
        self, event: AuditEvent, kek: Secret, head: Head, *, outcome: Decision | None = None, camera: str = FILES,
        label: str = "",
    ) -> Head:  # fmt: skip
        """The head after one more entry, sealed. VaultIntegrityError where the log does not end in `head`."""
        head = self.log.append(event, head=head, outcome=outcome, camera=camera, policy=label)
        self.write_head(kek, head, durable_name=False)
        return head

    def put(
        self, kek: Secret, provider: KeyProvider, payload_of: Callable[[int], Secret], *, event: AuditEvent,
        rules: AttemptRules, keep: bytes | None = None, old: tuple[Header, Secret] | None = None, after: int = 0,
        label: str = "", camera: str = FILES,
    ) -> OpenKey:  # fmt: skip
        """Writes a template, and returns the key that it opens.

        payload_of: from the file's generation. keep: the section whose counter goes on. old: header and KEK of the file
        that is replaced, where they are known; after: that file's generation.
        """
        _check_seals_templates(provider)
        section = provider.wrap(kek, binding=binding(self.user, provider.kind), keep=keep)
        with self._undone(provider, section, keep):
            counter = provider.counter(section)
            generation = (after if counter is None else counter.read()) + 1
            head = self._log_change(event, old, label, camera)
            self.write_head(kek, head)
            with payload_of(generation) as payload:
                sealed = seal(payload, kek, user=self.user, kind=provider.kind, section=section)
            self.folder.write(self.user, sealed)
        if counter is not None:
            counter.increment()
        self.folder.drop_heads(self.user, but=key_id(kek))
        return self.held(kek, generation, head, rules)

    def held(self, kek: Secret, generation: int, head: Head, rules: AttemptRules) -> OpenKey:
        """The key of a file just opened."""
        now = self._now_ns()
        return OpenKey(kek, Ready(opened_ns=now, active_ns=now, failures=0, not_before_ns=0), generation, head, rules)

    def restart_log(self, header: Header, kek: Secret) -> None:
        """Sets the log aside and begins a new one, as the numbers of the sealed head go on where there is one."""
        try:
            head: Head | None = self.read_head(header, kek)
        except VaultIntegrityError:
            head = None
        self.write_head(kek, self.log.restart(head))

    @contextlib.contextmanager
    def _undone(self, provider: KeyProvider, section: bytes, keep: bytes | None) -> Iterator[None]:
        """After a failure within, free what a new section holds outside the file, unless the file came to be."""
        try:
            yield
        except BaseException:
            if keep is None and self.section(provider.kind) != section:
                with contextlib.suppress(FaceSdkError):  # the first error is the one to report
                    provider.destroy(section)
            raise

    def _log_change(self, event: AuditEvent, old: tuple[Header, Secret] | None, label: str, camera: str) -> Head:
        if old is not None:
            return self.log.append(event, head=self.read_head(*old), camera=camera, policy=label)
        try:
            return self.note(event, camera=camera, label=label)
        except VaultIntegrityError:  # who enrolls anew begins a new log where the old one is damaged
            return self.log.append(event, head=self.log.restart(None), camera=camera, policy=label)

    def _check_counter(self, header: Header, provider: KeyProvider, template: Template) -> None:
        counter = provider.counter(header.section)
        if counter is None:
            return
        value = counter.read()
        if template.generation == value + 1:  # killed between the file and the counter
            value = counter.increment()
        if template.generation < value:
            with contextlib.suppress(VaultIntegrityError):  # this is the error to raise
                self.note(AuditEvent.ROLLED_BACK)
            raise RollbackError(
                f"an older file of {self.user!r} was put back: restore the newest, or remove it and enroll again"
            )
        if template.generation != value:
            raise VaultIntegrityError(f"the counter is not that of the file of {self.user!r}: remove it, enroll again")


def check_kind(header: Header, provider: KeyProvider) -> None:
    """Check the kind of key. KeyUnavailableError where the file is sealed by another one."""
    if header.kind is not provider.kind:
        raise KeyUnavailableError(
            f"the file of {header.user!r} is sealed with a {header.kind.label}: give that, not a {provider.kind.label}"
        )


def _check_seals_templates(provider: KeyProvider) -> None:
    if provider.kind is KeyKind.RECOVERY:
        raise InputError("a recovery passphrase seals exported files only: give another kind of key for a template")
