"""FaceVerifier: enroll once, verify one-to-one, remove. Only here capture, matching and vault meet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from facesdk import _core, matching
from facesdk._core import process_token
from facesdk.capture.quality import Refusal
from facesdk.capture.samples import Probe, enrollment_probe, pictures, probe
from facesdk.engine.engine import DEFAULT_EMBEDDER, Engine
from facesdk.engine.networks import load_manifest
from facesdk.errors import (
    EngineMismatchError,
    EnrollmentError,
    InputError,
    PassphraseRequiredError,
    Reason,
)  # fmt: skip
from facesdk.learning import Comparison, Learner, may_move
from facesdk.policy import Policy
from facesdk.types import Decision, Guidance, Outcome
from facesdk.vault import (
    KeyFileKey,
    KeyKind,
    KeyProvider,
    KeyringOpenKeys,
    PassphraseKey,
    ProcessOpenKeys,
    Record,
    Template,
    Vault,
    VaultFolder,
)  # fmt: skip
from facesdk.vault.attempts import PassphraseRequired
from facesdk.vault.audit.entry import check_labels
from facesdk.vault.replacing import already_enrolled

if TYPE_CHECKING:
    from facesdk.types import Float32Array, Picture, Pictures
    from facesdk.vault.opening import Opening

MAX_SAMPLES, MAX_FRAMES = 10, 32
ENOUGH_SAMPLES = 3  # one photo's threshold, which holds for everybody, would refuse the owner too often
CONSENT = "given to the program that called enroll()"


class FaceVerifier:
    """Verifies one person at a time against the sealed template under that person's name.

    vault: folder of the sealed files, made if missing. Give one of passphrase, key_file (a path, for development) and
    key (a provider from facesdk.vault). The opened key stays in locked memory of this object, and is opened when first
    needed; keyring=True keeps it in the kernel's keyring instead, for all programs of this user, and then a key is
    needed only to enroll and to unlock. engine is used for all; without one, make_engine makes one of each embedder
    that is needed. There is no way to search for a face among several users. Pictures are paths, the bytes of JPEG or
    PNG files, Pillow's, or arrays as Engine takes them; colors="bgr" is for arrays of OpenCV. Raises InputError for
    arguments that do not fit, KeyUnavailableError for a key file that cannot be used.

    learn: templates get better by what surely was their owner, and what they learned counts. Off unless asked for: a
    photograph of the owner matches too, and could be learned. migrate_to: an embedder that templates of another one
    move to during confirmed unlocks, without a photo being kept; it takes over at the first unlock() with the key once
    there are enough samples of it. docs/learning.md says what bounds both; vault.unlearn undoes them.

    The face works only while the key is open. policy.attempts says when it is forgotten: then verify raises
    PassphraseRequiredError until unlock() is given the passphrase again.
    """

    _chosen: Policy | None = None  # so that a traceback can show one whose making failed

    def __init__(
        self,
        vault: Path | str,
        *,
        passphrase: str | bytes | None = None,
        key_file: Path | str | None = None,
        key: KeyProvider | None = None,
        keyring: bool = False,
        policy: Policy | None = None,
        engine: Engine | None = None,
        make_engine: Callable[[str], Engine] = Engine,
        learn: bool = False,
        migrate_to: str | None = None,
    ) -> None:
        try:
            if policy is not None and not isinstance(policy, Policy):
                raise InputError(f"policy must be made by facesdk.Policy(...), not {policy!r:.80}")
            if isinstance(engine, type) or (engine is not None and not hasattr(engine, "observe")):
                raise InputError(f"engine must be made by facesdk.Engine(...), not {engine!r:.80}")
            if not isinstance(learn, bool):
                raise InputError(f"learn must be True or False, not {learn!r:.80}")
            if migrate_to is not None:
                load_manifest().embedder(migrate_to)
                if engine is not None:
                    raise InputError("migrate_to needs engines of two embedders: give make_engine in place of engine")
            folder = _folder(vault)
            self._key = _provider(passphrase, key_file, key, may_lack=keyring)
        finally:
            del passphrase  # not in the local variables of a traceback
        self._vault = Vault(VaultFolder(folder), KeyringOpenKeys(folder) if keyring else ProcessOpenKeys())
        self._chosen = policy
        self._given = engine
        self._make_engine = make_engine
        self._learner = Learner(learn, migrate_to, self._engine_for)
        self._made: dict[str, Engine] = {}
        self._opened: set[str] = set()
        self._process = process_token()

    def __repr__(self) -> str:
        return f"FaceVerifier(policy={self.policy!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FaceVerifier holds keys and stays in its process: make one in each process that needs one")

    @property
    def policy(self) -> Policy:
        """The policy given, or the default, which a verification tightens to what the owner's enrollment sealed."""
        return self._chosen or Policy()

    @property
    def engine(self) -> Engine:
        """The engine that enrolls: the one given, or one with the defaults, made when first needed."""
        return self._engine_for(DEFAULT_EMBEDDER)

    @property
    def vault(self) -> Vault:
        """The keys and files behind this: state, audit, rekey, renew, export and import of one user at a time."""
        return self._vault

    def _engine_for(self, embedder: str) -> Engine:
        """The engine given, or else one of this embedder."""
        if self._given is not None:
            return self._given
        if self._process != process_token():  # a child's: what the parent made does not work here
            self._made, self._process = {}, process_token()
        if embedder not in self._made:
            self._made[embedder] = self._make_engine(embedder)
        return self._made[embedder]

    def enroll(
        self, user: str, images: Pictures, *, replace: bool = False, allow_few_samples: bool = False,
        consent: str = CONSENT, colors: str = "rgb",
    ) -> None:  # fmt: skip
        """Seals a template of this user from three to ten pictures of one face; the pictures themselves are not kept.

        Five that differ in pose, light and distance are best. allow_few_samples: take one or two; a verification then
        uses the threshold for one photo, which refuses the owner much more often (docs/contract.md). Of pictures that
        are nearly the same, as neighbouring frames are, one counts.

        The caller must have the person's consent; `consent` says in a few words how it was given and is sealed too, as
        is the policy: no verification may meet less. The key is open afterwards, unless it was locked meanwhile. Raises
        EnrollmentError (a reason for each refused picture; nothing is stored), AlreadyEnrolledError without
        replace=True, and the vault's errors.
        """
        frames = pictures(images, at_most=MAX_SAMPLES, colors=colors)
        if len(frames) < ENOUGH_SAMPLES and not allow_few_samples:
            raise few_samples(len(frames))
        key = self._needed_key()
        key.check()
        if not replace and self._vault.folder.exists(user):
            raise already_enrolled(user)
        opening = self._vault.begin(user, enrolling=True)
        # The mirror image costs nothing when it matters, at a verification, and the owner is missed less often.
        with enrollment_probe(frames, self.engine, self.policy.quality, colors=colors, mirror=True) as enrolled:
            self._seal(user, enrolled, key, replace=replace, consent=consent, opening=opening)
        self._opened.add(user)

    def _seal(
        self, user: str, enrolled: Probe, key: KeyProvider, *, replace: bool, consent: str, opening: Opening | None
    ) -> None:
        import numpy as np

        plain: list[Float32Array] = []
        try:
            plain += [matching.make_reference(enrolled.vectors)]
            plain += [np.stack(enrolled.vectors)]
            record = Record(
                user=user, embedder=self.engine.embedder, model_ids=self.engine.model_ids, reference=plain[0],
                samples=plain[1], created_unix_s=int(time.time()), consent=consent, policy=self.policy.sealed(),
            )  # fmt: skip
            self._vault.enroll(
                record, key, replace=replace, rules=self.policy.attempts, label=self._label(self.policy),
                opening=opening,
            )  # fmt: skip
        finally:
            for array in plain:
                _core.wipe(array)

    def verify(
        self, user: str, images: Pictures, *, camera: str = "files", consecutive: bool = False, colors: str = "rgb"
    ) -> Outcome:
        """Whether the face in one picture, or in several of one moment, is this user's.

        camera: a short name for the audit log. consecutive: the pictures follow each other in one camera's stream; the
        face is then followed from one to the next, and the sharper half of the usable ones decides, the others do not
        count; only one in five is searched for a second person. Raises PassphraseRequiredError and LockedOutError where
        the policy's attempt rules say so, PolicyFloorError where this object's policy is looser than the owner's,
        NotEnrolledError, EngineMismatchError, KeyUnavailableError and the vault's errors: whatever stops the decision.
        What the person in front of the camera can cause is an Outcome.
        """
        check_labels(camera, "")
        frames = pictures(images, at_most=MAX_FRAMES, colors=colors)
        try:
            return self._verify(user, frames, camera=camera, consecutive=consecutive, colors=colors)
        except PassphraseRequiredError:
            if self._key is not None:
                self._key.forget()
            raise

    def _verify(self, user: str, frames: list[Picture], *, camera: str, consecutive: bool, colors: str) -> Outcome:
        self._open_first(user)
        with self._vault.opened(user, learned=self._learner.active) as template:
            generation, policy = template.generation, self._binding_policy(template)
            engine, label = self._matching_engine(template), self._label(policy)
            comparison = Comparison(template, policy, engine, self._learner, frames=len(frames))
        start = time.perf_counter()
        found = probe(frames, engine, policy.quality, consecutive=consecutive, colors=colors)
        if isinstance(found, Refusal):
            return Outcome(found.decision, found.reason, found.guidance, _ms_since(start))
        with found:
            match = self._vault.attempt(
                user, lambda template: comparison.matches(template, found), generation=generation, camera=camera,
                label=label, learned=self._learner.active,
            )  # fmt: skip
        elapsed_ms = _ms_since(start)
        if not match:
            return Outcome(Decision.NON_MATCH, "the face is not the enrolled one", Guidance.NONE, elapsed_ms)
        comparison.learn(self._vault, user, generation=generation, camera=camera, label=label)
        return Outcome(Decision.MATCH, "the face is the enrolled one", Guidance.NONE, elapsed_ms)

    def unlock(self, user: str, *, passphrase: str | bytes | None = None, key: KeyProvider | None = None) -> None:
        """Opens the user's key with what is given here, and sets the failures back.

        With nothing given, the key that this object was made with opens it, once: not again after a lock, a panic, too
        many failures or an expiry (PassphraseRequiredError), and an open key stays as it is. KeyUnavailableError for a
        wrong key; RollbackError, VaultIntegrityError, NotEnrolledError.
        """
        try:
            if passphrase is not None:
                if key is not None or (self._key is not None and self._key.kind is not KeyKind.PASSPHRASE):
                    raise InputError("this template is not opened by a passphrase alone: give key=")
                key = PassphraseKey(passphrase)
        finally:
            del passphrase  # not in the local variables of a traceback
        if key is None:
            state, _ = self._vault.state(user)
            if not isinstance(state, PassphraseRequired):
                return
            if state.reason is not Reason.NOT_UNLOCKED or user in self._opened:
                raise PassphraseRequiredError(state.reason)
            key = self._needed_key()
        self._vault.unlock(
            user, key, rules=self.policy.attempts,
            label=self._label(self.policy), opening=self._vault.begin(user), may_move=may_move,
        )  # fmt: skip
        self._key = key
        self._opened.add(user)

    def lock(self, user: str) -> bool:
        """Forget the user's key, and the passphrase that this object was made with. Whether a key was open.

        What other programs opened for themselves is closed at their next use. NotLoggedError where the key is forgotten
        and only the audit log could not be written.
        """
        if self._key is not None:
            self._key.forget()
        return self._vault.lock(user)

    def panic(self) -> int:
        """Forget every key of the vault, and the passphrase that this object was made with, at once.

        Returns how many keys were open. NotLoggedError as in lock.
        """
        if self._key is not None:
            self._key.forget()
        return self._vault.panic()

    def remove(self, user: str) -> None:
        """Destroys the user's template, key and audit log; needs no key. NotEnrolledError."""
        self._vault.remove(user, self._key)

    def users(self) -> list[str]:
        """Names with a template in this vault, sorted."""
        return self._vault.folder.users()

    def _needed_key(self) -> KeyProvider:
        if self._key is None:
            raise InputError("a passphrase, key file or other key is needed for this: none was given")
        return self._key

    def _open_first(self, user: str) -> None:
        """Opens the key with this object's own if nothing has opened it since the program (or machine) started."""
        if self._key is not None:
            state, _ = self._vault.state(user)
            if not isinstance(state, PassphraseRequired):
                self._opened.add(user)  # if it is closed from now on, somebody has closed it
            elif state.reason is Reason.NOT_UNLOCKED and user not in self._opened:
                self.unlock(user)

    def _binding_policy(self, template: Template) -> Policy:
        """The policy to verify with: at least what the owner's enrollment sealed. PolicyFloorError."""
        if self._chosen is None:
            return self.policy.tightened(template.policy)
        Policy.check_not_looser(self._chosen, template.policy)  # not by what a subclass makes of it
        return self._chosen

    def _label(self, policy: Policy) -> str:
        """The policy as the audit log names it, behind the attempt rules."""
        return f"{policy.target_fmr:g}"

    def _matching_engine(self, template: Template) -> Engine:
        known = self._given is not None or template.embedder in load_manifest().embedders
        engine = self._engine_for(template.embedder) if known else self.engine
        if (template.embedder, template.model_ids) != (engine.embedder, engine.model_ids):
            same = template.embedder == engine.embedder
            other = f"embedder {template.embedder!r}, not {engine.embedder!r}"
            what = "other models or another detector" if same else other
            raise EngineMismatchError(f"{template.user!r} was enrolled with {what}: use that engine, or enroll again")
        return engine


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3


def few_samples(count: int, *, allow: str = "allow_few_samples=True") -> EnrollmentError:
    return EnrollmentError(
        f"{ENOUGH_SAMPLES} or more pictures were expected, {count} came: the threshold for one photo that holds for "
        "everybody refuses the owner too often",
        hint=f"take more, with the head turned a little and in another light, or give {allow}",
    )


def _folder(vault: Path | str) -> Path:
    try:
        folder = Path(os.fsdecode(vault))
    except TypeError:
        raise InputError(f"vault must be the path of a folder, not {type(vault).__name__}") from None
    if not os.fspath(vault) or b"\0" in os.fsencode(folder):
        raise InputError("vault must be the path of a folder, not an empty name or one with a zero byte in it")
    return folder


def _provider(
    passphrase: str | bytes | None, key_file: Path | str | None, key: KeyProvider | None, *, may_lack: bool
) -> KeyProvider | None:
    try:
        given = sum(value is not None for value in (passphrase, key_file, key))
        if given > 1 or (given == 0 and not may_lack):
            raise InputError("give exactly one of passphrase, key_file and key (none is needed with keyring=True)")
        if passphrase is not None:
            return PassphraseKey(passphrase)
    finally:
        del passphrase  # not in the local variables of a traceback
    _check_key(key)
    if key_file is None:
        return key
    try:
        return KeyFileKey(os.fsdecode(key_file))
    except TypeError:
        raise InputError(f"key_file must be the path of a key file, not {type(key_file).__name__}") from None


def _check_key(key: KeyProvider | None) -> None:
    if key is not None and not isinstance(getattr(key, "kind", None), KeyKind):
        came = type(key).__name__
        raise InputError(f"key must be a provider of facesdk.vault, such as PassphraseKey(...), not {came}")
