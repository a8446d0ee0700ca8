"""FaceVerifier: enroll once, verify one-to-one, remove. Only here engine, quality, matching and vault meet."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk import matching
from facesdk.engine import Engine
from facesdk.errors import EngineMismatchError, EnrollmentError, FaceSdkError, InputError
from facesdk.images import load_rgb
from facesdk.models import load_manifest
from facesdk.policy import Policy
from facesdk.quality import Refusal, assess
from facesdk.types import Decision, Features, Guidance, Outcome
from facesdk.vault import KeyFileKey, KeySource, PassphraseKey, Record, Vault
from facesdk.vault.store import already_enrolled

if TYPE_CHECKING:
    from facesdk.types import Frame

MAX_SAMPLES, MAX_FRAMES = 10, 32
DEFAULT_EMBEDDER = "joint"
# Two samples of an enrollment must score at least this share of the threshold at this rate. On LFW no mixture of two
# people (0 of 600) came through, and 1 of 311 (three samples) or 6 of 311 (five) genuine enrollments was refused.
ENROLLMENT_FMR = 1e-3
PAIR_SHARE = 0.85
CONSENT = "given to the program that called enroll()"


def _frames(images: Any, *, at_most: int) -> list[Any]:
    """The pictures as a list; one picture alone is a list of one."""
    if isinstance(images, (str, Path)) or hasattr(images, "dtype"):
        images = [images]
    if not isinstance(images, Iterable):
        raise InputError(f"one picture or several were expected, not {type(images).__name__}")
    frames = list(images)
    if not 1 <= len(frames) <= at_most:
        raise InputError(f"1 to {at_most} pictures were expected, not {len(frames)}")
    return frames


def _frame(image: Any) -> Frame:
    return load_rgb(image) if isinstance(image, (str, Path)) else image


class FaceVerifier:
    """Verifies one person at a time against the sealed template under that person's name.

    vault: folder of the sealed files, made if missing. Give one of passphrase, key_file (a path, for development) and
    key (a source of keys from facesdk.vault). There is no way to search for a face among several users. Pictures are
    paths, or arrays as Engine takes them. Raises InputError for arguments that do not fit, KeyUnavailableError for a
    key file that cannot be used.
    """

    def __init__(
        self,
        vault: Path | str,
        *,
        passphrase: str | bytes | None = None,
        key_file: Path | str | None = None,
        key: KeySource | None = None,
        policy: Policy | None = None,
        engine: Engine | None = None,
    ) -> None:
        if sum(given is not None for given in (passphrase, key_file, key)) != 1:
            raise InputError("give exactly one of passphrase, key_file and key")
        if passphrase is not None:
            key = PassphraseKey(passphrase)
        elif key_file is not None:
            key = KeyFileKey(key_file)
        self._vault = Vault(Path(vault), key)
        self.policy = policy or Policy()
        self._given = engine
        self._made: dict[str, Engine] = {}

    def __repr__(self) -> str:
        return f"FaceVerifier(policy={self.policy!r})"

    @property
    def engine(self) -> Engine:
        """The engine that enrolls: the one given, or one with the defaults, made when first needed."""
        return self._engine_for(DEFAULT_EMBEDDER)

    def _engine_for(self, embedder: str) -> Engine:
        """The engine given, or else one of this embedder."""
        if self._given is not None:
            return self._given
        if embedder not in self._made:
            self._made[embedder] = Engine(embedder)
        return self._made[embedder]

    def enroll(self, user: str, images: Any, *, replace: bool = False, consent: str = CONSENT) -> None:
        """Seals a template of this user from one to ten pictures of one face; the pictures themselves are not kept.

        The caller must have the person's consent; `consent` says in a few words how it was given and is sealed too.
        Raises EnrollmentError (a reason for each refused picture; nothing is stored), AlreadyEnrolledError without
        replace=True, and the vault's errors.
        """
        frames = _frames(images, at_most=MAX_SAMPLES)
        generation = 1
        if self._vault.exists(user):
            if not replace:
                raise already_enrolled(user)
            generation = self._generation_after(user)
        samples = self._samples(frames)
        vectors = matching.vectors_of(samples)
        import numpy as np

        record = Record(
            user=user, embedder=self.engine.embedder, model_ids=self.engine.model_ids,
            references=matching.mean_direction(vectors), samples=np.stack(vectors),
            created_unix_s=int(time.time()), generation=generation, consent=consent,
        )  # fmt: skip
        self._vault.put(record, replace=replace)

    def verify(self, user: str, images: Any) -> Outcome:
        """Whether the face in one picture, or in several of one moment, is this user's.

        Raises NotEnrolledError, EngineMismatchError, KeyUnavailableError and the vault's errors: whatever stops the
        decision. What the person in front of the camera can cause is an Outcome.
        """
        frames = _frames(images, at_most=MAX_FRAMES)
        record = self._vault.get(user)
        engine = self._matching_engine(record)
        threshold = self.policy.operating_point(record.embedder).threshold
        start = time.perf_counter()
        usable: list[Features] = []
        refusal: Refusal | None = None
        for image in frames:
            features, faces = engine.observe(_frame(image))
            refused = assess(features, len(faces), self.policy, enrolling=False)
            if refused is None and features is not None:
                usable.append(features)
            refusal = refused or refusal
        if usable:
            reference = matching.make_reference(list(record.samples))
            match = matching.fused_score(reference, matching.vectors_of(usable)) >= threshold
            refusal = None
        elapsed_ms = (time.perf_counter() - start) * 1e3
        if refusal is not None or not usable:
            assert refusal is not None
            return Outcome(refusal.decision, refusal.reason, refusal.guidance, elapsed_ms)
        if match:
            return Outcome(Decision.MATCH, "the face is the enrolled one", Guidance.NONE, elapsed_ms)
        return Outcome(Decision.NON_MATCH, "the face is not the enrolled one", Guidance.NONE, elapsed_ms)

    def remove(self, user: str) -> None:
        """Destroys the user's template: the wrapped key is overwritten, then the file deleted. NotEnrolledError."""
        self._vault.remove(user)

    def users(self) -> list[str]:
        """Names with a template in this vault, sorted."""
        return self._vault.users()

    def _matching_engine(self, record: Record) -> Engine:
        known = self._given is not None or record.embedder in load_manifest().embedders
        engine = self._engine_for(record.embedder) if known else self.engine
        if (record.embedder, record.model_ids) != (engine.embedder, engine.model_ids):
            same = record.embedder == engine.embedder
            what = (
                "other models or another detector" if same else f"embedder {record.embedder!r}, not {engine.embedder!r}"
            )
            raise EngineMismatchError(f"{record.user!r} was enrolled with {what}: use that engine, or enroll again")
        return engine

    def _generation_after(self, user: str) -> int:
        try:
            return self._vault.get(user).generation + 1
        except FaceSdkError:  # sealed with a key since changed, or damaged: replacing it is how that is mended
            return 1

    def _samples(self, frames: list[Any]) -> list[Features]:
        samples: list[Features] = []
        reasons: list[str] = []
        for number, image in enumerate(frames, start=1):
            features, faces = self.engine.observe(_frame(image))
            refused = assess(features, len(faces), self.policy, enrolling=True)
            if refused is not None:
                reasons.append(f"picture {number}: {refused.reason}. {refused.guidance.value}")
            elif features is not None:
                samples.append(features)
        if not reasons:
            reasons = self._compare_samples(matching.vectors_of(samples))
        if reasons:
            raise EnrollmentError("nothing was enrolled:\n" + "\n".join(reasons), tuple(reasons))
        return samples

    def _compare_samples(self, vectors: list[Any]) -> list[str]:
        """Reasons against samples that are near copies of each other or not of one person."""
        threshold = self.policy.operating_point(self.engine.embedder, target_fmr=ENROLLMENT_FMR).threshold
        apart = PAIR_SHARE * threshold
        scores = [[matching.score(a, b) for b in vectors] for a in vectors]
        strangers = [sum(value < apart for value in row) for row in scores]
        # Of two people in one enrollment the fewer samples are the wrong ones; in a balanced mix, nobody knows which.
        worst = max(strangers)
        reasons = []
        for i, row in enumerate(scores):
            if any(value > self.policy.max_sample_similarity for value in row[:i]):
                reasons.append(f"picture {i + 1}: nearly the same as an earlier one. {Guidance.CHANGE_SOMETHING.value}")
            if worst and strangers[i] == worst:
                reasons.append(
                    f"picture {i + 1}: not the same person as in the others. Use pictures of one person only."
                )
        return reasons
