"""FaceVerifier: enroll once, verify one-to-one, remove. Only here capture, matching and vault meet."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from facesdk import learning
from facesdk.capture.limits import DECIDING, ENROLLMENT_S, LEAVE_AFTER_S, LONGEST_TIMEOUT_S, TIMEOUT_S
from facesdk.capture.quality import Refusal
from facesdk.capture.samples import (
    ENOUGH_SAMPLES,
    MAX_FRAMES,
    MAX_SAMPLES,
    Probe,
    enrollment_probe,
    few_samples,
    pictures,
    probe,
)
from facesdk.deciding import Deciding, label_of
from facesdk.engine import Engine
from facesdk.engine.networks import load_manifest
from facesdk.engines import Engines, checked_engine
from facesdk.errors import InputError, LockedOutError, PassphraseRequiredError, PolicyFloorError
from facesdk.log import happened
from facesdk.policy import Policy
from facesdk.types import Assurance, Decision, Guidance, Outcome
from facesdk.vault import (
    KeyKind,
    KeyProvider,
    KeyringOpenKeys,
    PassphraseKey,
    ProcessOpenKeys,
    Vault,
    VaultFolder,
)
from facesdk.vault.attempts import PassphraseRequired
from facesdk.vault.audit.entry import FILES, check_labels
from facesdk.vault.folder import folder_path
from facesdk.vault.keys.given import GivenKeys, given_key
from facesdk.vault.unlocking import Unlocking

if TYPE_CHECKING:
    from facesdk.camera.frame import CapturedFrame
    from facesdk.camera.live import LiveCamera
    from facesdk.capture.session import Session
    from facesdk.capture.watch import Watch
    from facesdk.enrolling import Enrolling
    from facesdk.status import Status
    from facesdk.types import Picture, Pictures, Progress

CONSENT = "given to the program that called enroll()"


class FaceVerifier:
    """Verifies one person at a time against the sealed template under that person's name.

    The face works only while the key is open. policy.attempts says when it is forgotten: then verify raises
    PassphraseRequiredError until unlock() is given the passphrase again. There is no way to search for a face among
    several users. A context: at its end close() wipes what is open in this process.

    Pictures are paths, the bytes of JPEG or PNG files, Pillow's, or arrays as Engine takes them; colors="bgr" is for
    arrays of OpenCV.

    Args:
        vault: folder of the sealed files, made if missing.
        passphrase: seals the template of the first user whom this object enrolls, and opens it when first needed. Give
            one of passphrase, key_file and key.
        key_file: path of a key file, for development.
        key: a provider from facesdk.vault.
        keyring: keep opened keys in the kernel's keyring, for all programs of this user, instead of in locked memory of
            this object; a key is then needed only to enroll and to unlock.
        policy: what a verification must meet; without one the defaults, tightened to what the enrollment sealed.
        engine: is used for all. Without one, make_engine makes one of each embedder that is needed.
        make_engine: makes an engine of the embedder of this name.
        learn: templates get better by what surely was their owner, and what they learned counts. Off unless asked for:
            a photograph of the owner matches too, and could be learned. docs/learning.md says what bounds it.
        migrate_to: an embedder that templates of another one move to during confirmed unlocks, without a photo being
            kept; it takes over at the first unlock() with the key once there are enough samples of it.

    Raises:
        InputError: an argument does not fit.
        KeyUnavailableError: the key file cannot be used.
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
            _check_parts(policy, engine, make_engine, learn, migrate_to)
            folder = folder_path(vault)
            self._keys = GivenKeys(given_key(passphrase, key_file, key, may_lack=keyring))
        finally:
            del passphrase  # not in the local variables of a traceback
        self._vault = Vault(VaultFolder(folder), KeyringOpenKeys(folder) if keyring else ProcessOpenKeys())
        self._chosen = policy
        self._engines = Engines(engine, make_engine)
        self._learner = learning.Learner(learn, migrate_to, self._engines.of)
        self._deciding = Deciding(self._vault, self._keys, self._engines, self._learner, policy)
        self._unlocking = Unlocking(self._vault, self._keys)

    def __repr__(self) -> str:
        return f"FaceVerifier(policy={self.policy!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FaceVerifier holds keys and stays in its process: make one in each process that needs one")

    def __enter__(self) -> FaceVerifier:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.close()

    def close(self) -> None:
        """Wipe the keys and passphrases of this object: enroll, verify and unlock raise InputError afterwards.

        What another thread is about comes to nothing. Keys in the kernel's keyring stay open for other programs: lock()
        closes those. Does nothing a second time.
        """
        with contextlib.ExitStack() as every:  # run backwards, each whatever became of those before
            every.callback(self._engines.clear)
            every.callback(self._keys.close)
            every.callback(self._vault.close)

    @property
    def policy(self) -> Policy:
        """The policy given, or the default, which a verification tightens to what the owner's enrollment sealed."""
        return self._chosen or Policy()

    @property
    def engine(self) -> Engine:
        """The engine that enrolls: the one given, or one with the defaults, made when first needed."""
        return self._engines.default

    @property
    def vault(self) -> Vault:
        """The keys and files behind this: state, audit, rekey, renew, export and import of one user at a time."""
        return self._vault

    def enroll(
        self, user: str, images: Pictures, *, replace: bool = False, allow_few_samples: bool = False,
        consent: str = CONSENT, colors: str = "rgb", passphrase: str | bytes | None = None,
        key: KeyProvider | None = None,
    ) -> None:  # fmt: skip
        """Seal a template of this user from pictures of one face; the pictures themselves are not kept.

        The caller must have the person's consent. The policy is sealed too: no verification may meet less. The key is
        open afterwards, unless it was locked meanwhile.

        Args:
            user: 1 to 64 letters, digits, dots, dashes and underscores.
            images: three to ten pictures; five that differ in pose, light and distance are best. Of pictures that are
                nearly the same, as neighbouring frames are, one counts.
            replace: take the place of a template that is there, which the key given must open.
            allow_few_samples: take one or two pictures; a verification then uses the threshold for one photo, which
                refuses the owner much more often (docs/contract.md).
            consent: says in a few words how consent was given; sealed with the template.
            colors: of arrays, "rgb" or "bgr".
            passphrase: this user's own, in place of the one that the verifier was made with. Two people never share one
                by accident: for a second user it must be given.
            key: a provider of this user's own from facesdk.vault, where the verifier's is no passphrase.

        Raises:
            EnrollmentError: a picture is poor or shows somebody else, or there are too few; nothing is stored.
            AlreadyEnrolledError: there is a template, and replace is not True.
            InputError: an argument does not fit, or no key of this user was given.
            FaceSdkError: the errors of the vault: KeyUnavailableError, VaultError, VaultIntegrityError.
        """
        try:
            frames = pictures(images, at_most=MAX_SAMPLES, colors=colors)
            if len(frames) < ENOUGH_SAMPLES and not allow_few_samples:
                raise few_samples(len(frames))
            if passphrase is not None:
                self._keys.check_kind(KeyKind.PASSPHRASE)
            given = given_key(passphrase, None, key, may_lack=True)
        finally:
            del passphrase  # not in the local variables of a traceback
        from facesdk.enrolling import Enrolling

        with self._keys.using(user, given) as key:
            begun = Enrolling.begin(self._vault, user, key, replace=replace, consent=consent)
            # The mirror image costs nothing when it matters, at a verification, and the owner is missed less often.
            with enrollment_probe(frames, self.engine, self.policy.quality, colors=colors, mirror=True) as enrolled:
                self._seal(user, key, enrolled, begun)

    def enrollment(
        self, user: str, *, replace: bool = False, consent: str = CONSENT, passphrase: str | bytes | None = None,
        key: KeyProvider | None = None, camera: str | LiveCamera = "camera", timeout_s: float = ENROLLMENT_S,
    ) -> Session:  # fmt: skip
        """Begin to enroll whoever comes in front of a camera, by its frames.

        The session asks for five poses, takes a sample of each, verifies once with other frames, and only then seals
        the template. No picture is kept.

        Args:
            user: 1 to 64 letters, digits, dots, dashes and underscores.
            replace: take the place of a template that is there, which the key given must open.
            consent: says in a few words how the person's consent was given; sealed with the template.
            passphrase: this user's own, as in enroll.
            key: a provider of this user's own, as in enroll.
            camera: an open camera, or a short name, for the audit log.
            timeout_s: seconds of the frames' clock, 1 to 600, until it ends with nothing kept.

        Returns:
            The session; its outcome is true where the person was enrolled.

        Raises:
            AlreadyEnrolledError: there is a template, and replace is not True.
            InputError: an argument does not fit, or no key of this user was given.
            FaceSdkError: the errors of the vault, also from the session's feed.
        """
        try:
            if passphrase is not None:
                self._keys.check_kind(KeyKind.PASSPHRASE)
            given = given_key(passphrase, None, key, may_lack=True)
        finally:
            del passphrase  # not in the local variables of a traceback
        from facesdk import sessions
        from facesdk.enrolling import Enrolling

        name = sessions.checked_name(camera)
        with contextlib.ExitStack() as claimed:
            own = claimed.enter_context(self._keys.using(user, given))
            begun = Enrolling.begin(self._vault, user, own, replace=replace, consent=consent, camera=name)
            begun.check(self._vault, user, own)  # before anybody sits down

            def keep(enrolled: Probe) -> None:
                own.check()
                self._seal(user, own, enrolled, begun)

            session = sessions.enrollment(
                self.engine, self.policy, keep, timeout_s=timeout_s, claimed=claimed.pop_all(), given=given
            )
        return session

    def _seal(self, user: str, key: KeyProvider, enrolled: Probe, enrollment: Enrolling) -> None:
        enrollment.seal(self._vault, user, key, enrolled, engine=self.engine, policy=self.policy)
        self._unlocking.opened(user)
        happened("enrolled %s with %s", user, self.engine.embedder)

    def verify(
        self, user: str, images: Pictures, *, camera: str = FILES, consecutive: bool = False, colors: str = "rgb"
    ) -> Outcome:
        """Decide whether the face in one picture, or in several of one moment, is this user's.

        Args:
            user: whose template it is compared with.
            images: 1 to 32 pictures.
            camera: a short name for the audit log.
            consecutive: the pictures follow each other in one camera's stream; the face is then followed from one to
                the next, and the sharper half of the usable ones decides, the others do not count; only one in five is
                searched for a second person.
            colors: of arrays, "rgb" or "bgr".

        Returns:
            The outcome, true for a match alone. What the person in front of the camera can cause is an outcome.

        Raises:
            PassphraseRequiredError: the key is closed.
            LockedOutError: too many attempts did not match; says how long to wait.
            PolicyFloorError: this object's policy is looser than what the enrollment sealed.
            NotEnrolledError: there is no template of this user.
            EngineMismatchError: the template was made by another embedder or other models.
            FaceSdkError: the errors of the vault and of pictures: whatever stops the decision.
        """
        self._keys.check_open()
        check_labels(camera, "")
        frames = pictures(images, at_most=MAX_FRAMES, colors=colors)
        try:
            outcome = self._verify(user, frames, camera=camera, consecutive=consecutive, colors=colors)
        except PassphraseRequiredError as error:
            self._keys.forget(user)
            happened("verify %s: %s", user, error.message)
            raise
        happened("verify %s: %s, %.0f ms", user, outcome.decision.value, outcome.elapsed_ms)
        return outcome

    def _verify(self, user: str, frames: list[Picture], *, camera: str, consecutive: bool, colors: str) -> Outcome:
        with contextlib.ExitStack() as stack:
            begin = partial(self._deciding.at_once, user, frames=len(frames), camera=camera)
            decider, policy, engine = self._unlocking.with_key(
                user, lambda: stack.enter_context(begin()), unlock=self.unlock
            )
            if policy.liveness is not Assurance.NONE:
                raise PolicyFloorError(
                    f"pictures do not say that somebody is there, and the owner's enrollment asks for "
                    f"{policy.liveness.name}: use session()"
                )
            start = time.perf_counter()
            found = probe(frames, engine, policy.quality, consecutive=consecutive, colors=colors)
            if isinstance(found, Refusal):
                return Outcome(found.decision, found.reason, found.guidance, _ms_since(start))
            match = decider.matches(stack.enter_context(found))
        decision = Decision.MATCH if match else Decision.NON_MATCH
        reason = f"the face is {'' if match else 'not '}the enrolled one"
        return Outcome(decision, reason, Guidance.NONE, _ms_since(start))

    def session(
        self, user: str, *, purpose: str = "", camera: str | LiveCamera = "camera",
        liveness: Assurance = Assurance.RGB_CHALLENGE, challenge: str = "dot", timeout_s: float = TIMEOUT_S,
    ) -> Session:  # fmt: skip
        """Begin to verify whoever comes in front of a camera, by its frames.

        One session is at most one attempt: it is paid for when the session compares, or refuses what pretends to be a
        person. Feed it until `done`; leaving its context wipes what it holds.

        Args:
            user: whose template the face is compared with.
            purpose: for the audit log, at most 12 characters, such as "door".
            camera: an open camera, or a short name for the audit log.
            liveness: the tier that a match must reach. Less than RGB_CHALLENGE is asked for by name, and not below the
                policy's.
            challenge: "dot" where a screen shows where to look, "directions" for LEDs or a voice.
            timeout_s: seconds of the frames' clock, 1 to 600, until it ends without a decision.

        Returns:
            The session; `feed` says what to show, `outcome` how it ended.

        Raises:
            PolicyFloorError: the owner's enrollment asks for more.
            ModelIntegrityError: the networks of RGB_PASSIVE are not there.
            PassphraseRequiredError, LockedOutError, NotEnrolledError, EngineMismatchError: as verify.
            InputError: an argument does not fit.
        """
        from facesdk import sessions

        self._keys.check_open()
        label = sessions.checked_label(camera, purpose, liveness)
        try:
            begin = partial(self._deciding.begin, user, frames=DECIDING, camera=sessions.name_of(camera), label=label)
            decider, policy, engine = self._unlocking.with_key(user, begin, unlock=self.unlock)
        except PassphraseRequiredError:
            self._keys.forget(user)
            raise
        return sessions.verification(
            decider, policy, engine, liveness, engines=self._engines, challenge=challenge, timeout_s=timeout_s
        )

    def watch(
        self, user: str, camera: LiveCamera | Iterable[CapturedFrame], *, purpose: str = "",
        liveness: Assurance = Assurance.RGB_CHALLENGE, challenge: str = "dot", leave_after_s: float = LEAVE_AFTER_S,
        on_progress: Callable[[Progress, CapturedFrame], None] | None = None, label: str | None = None,
    ) -> Watch:  # fmt: skip
        """Verify whoever comes before a camera, again and again, with an event for each change.

        Somebody who stands there is compared once, until he has left or somebody else is in his place. A lock-out and a
        passphrase that is required are events; both are waited out while frames are looked at.

        Args:
            user: whose template the faces are compared with.
            camera: an open camera, or anything that gives captured frames.
            purpose: as in session.
            liveness: as in session.
            challenge: as in session.
            leave_after_s: who was not seen for so long has left; 1 to 3600 seconds.
            on_progress: called after each frame with what to show, and the frame.
            label: the camera's short name for the audit log; None for its own.

        Returns:
            The watch: iterate it, also with `async for`, or give run() a function; cancel() ends it from any thread.

        Raises:
            InputError, PolicyFloorError: as session; other errors of it come out of the iteration.
        """
        from facesdk import sessions

        name = getattr(camera, "label", "camera") if label is None else label

        def begin() -> Session:
            return self.session(
                user, purpose=purpose, camera=name, liveness=liveness, challenge=challenge, timeout_s=LONGEST_TIMEOUT_S
            )

        sessions.checked_label(name, purpose, liveness)
        try:
            with self._vault.opened(user) as template:
                policy, engine = self._deciding.binding(template)
        except (PassphraseRequiredError, LockedOutError):  # they are events; what is looked with is the default
            policy, engine = self.policy, self.engine
        return sessions.watch(
            begin, engine, policy, camera, leave_after_s=leave_after_s, on_progress=on_progress,
            why_closed=lambda: self._why_closed(user),
        )  # fmt: skip

    def _why_closed(self, user: str) -> str:
        """Why the user's key is closed; "" while it is open."""
        state, _ = self._vault.state(user)
        return str(state.reason) if isinstance(state, PassphraseRequired) else ""

    def unlock(self, user: str, *, passphrase: str | bytes | None = None, key: KeyProvider | None = None) -> None:
        """Open the user's key with what is given here, and set the failures back.

        With nothing given, the key that this object was made with opens it, once: not again after a lock, a panic, too
        many failures or an expiry, and an open key stays as it is.

        Args:
            user: whose key.
            passphrase: this user's, where the template is sealed by one.
            key: a provider from facesdk.vault, for any other kind.

        Raises:
            PassphraseRequiredError: nothing was given and this object's own key does not count any more.
            KeyUnavailableError: the wrong key. LockedOutError: soon after several wrong ones.
            NotEnrolledError, RollbackError, VaultIntegrityError: as the names say.
        """
        try:
            self._keys.check_open()
            known = self._keys.of(user)
            if passphrase is not None:
                if key is not None or (known is not None and known.kind is not KeyKind.PASSPHRASE):
                    raise InputError("give either a passphrase or key=, of the kind that seals the template")
                key = PassphraseKey(passphrase)
        finally:
            del passphrase  # not in the local variables of a traceback
        if self._unlocking.unlock(
            user, key, rules=self.policy.attempts, label=label_of(self.policy),
            may_move=lambda *both: learning.may_move(*both),
        ):  # fmt: skip
            happened("unlocked %s", user)

    def lock(self, user: str) -> bool:
        """Forget the user's key, and the passphrase that this object knows of theirs.

        What other programs opened for themselves is closed at their next use.

        Returns:
            Whether a key was open.

        Raises:
            NotLoggedError: the key is forgotten; only the audit log could not be written.
        """
        try:
            was_open = self._vault.lock(user)
        finally:
            self._keys.forget(user)
        happened("locked %s", user)
        return was_open

    def panic(self) -> int:
        """Forget every key of the vault, and every passphrase that this object knows, at once.

        Returns:
            How many keys were open.

        Raises:
            NotLoggedError: as in lock.
        """
        try:
            count = self._vault.panic()
        finally:
            self._keys.forget_all()
        happened("panic: every key is forgotten")
        return count

    def remove(self, user: str) -> None:
        """Destroy the user's template, key and audit log; needs no key. NotEnrolledError where there is none."""
        self._vault.remove(user, self._keys.of(user))
        self._keys.drop(user)
        happened("removed %s", user)

    def users(self) -> list[str]:
        """The names with a template in this vault, sorted."""
        return self._vault.folder.users()

    def status(self, user: str) -> Status:
        """Say what holds for this user now, without opening a key.

        Raises:
            NotEnrolledError: there is no template of this user.
            FaceSdkError: the errors of a vault that cannot be read or trusted.
        """
        from facesdk.status import status_of

        return status_of(self._vault, user, policy=self._chosen)


def _check_parts(
    policy: object, engine: object, make_engine: object, learn: object, migrate_to: str | None
) -> None:  # fmt: skip
    """InputError for a part of a verifier that is not of its kind."""
    if policy is not None and not isinstance(policy, Policy):
        raise InputError(f"policy must be made by facesdk.Policy(...), not {policy!r:.80}")
    if engine is not None:
        checked_engine(engine, "engine")
    if not callable(make_engine):
        raise InputError(f"make_engine must take an embedder's name, as Engine does, not {make_engine!r:.80}")
    if not isinstance(learn, bool):
        raise InputError(f"learn must be True or False, not {learn!r:.80}")
    if migrate_to is not None:
        load_manifest().embedder(migrate_to)
        if engine is not None:
            raise InputError("migrate_to needs engines of two embedders: give make_engine in place of engine")


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3
