"""Records clips of what stands before a camera. The one place of facesdk that writes pictures, because a person asked
for it; each clip has the challenge that was shown meanwhile, so that it can be judged by it later."""

from __future__ import annotations

import queue
import secrets
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk.errors import InputError
from facesdk.evaluation.redteam_folder import (
    CLIPS,
    FRAMES,
    LIVE,
    MOST_FRAMES,
    Clip,
    append_line,
    check_no_links,
    checked_person,
    checked_species,
)
from facesdk.images.frames import array_frame
from facesdk.types import Decision, Guidance, Outcome, Progress, SessionPhase

if TYPE_CHECKING:
    from facesdk.evaluation.redteam_session import Looking
    from facesdk.types import Frame

# A live person has two tries; an attack is recorded for as long, whatever the session that is shown says of it.
LIVE_S, ATTACK_S, LONGEST_S = 20.0, 8.0, 120.0
_WAITING = 32  # frames between the camera and the disk


class Recorder:
    """Records one clip: fed as a Session is, shows what a session shows, ends by itself.

    A context: its end keeps a clip that came to its end, and removes one that did not.

    Args:
        folder: of the test, as make_folder gives it.
        looking: what the session that is shown looks with.
        species: what stands there.
        person: who is shown, as the vault names them.
        camera: as the audit log names it.
        simulated: the frames are rendered.
        challenge: "dot" or "directions".
        seconds: the longest that it lasts; None for the species' own.

    Raises:
        InputError: an argument does not fit, or the folder cannot be written.
    """

    def __init__(
        self, folder: Path, looking: Looking, *, species: str, person: str = "", camera: str = "",
        simulated: bool = False, challenge: str = "dot", seconds: float | None = None,
    ) -> None:  # fmt: skip
        self._species, self._person = checked_species(species), checked_person(person)
        self._seconds = (LIVE_S if self._species == LIVE else ATTACK_S) if seconds is None else seconds
        if not 1 <= self._seconds <= LONGEST_S:
            raise InputError(f"a clip lasts from 1 to {LONGEST_S:g} seconds, not {self._seconds!r}")
        self._camera, self._simulated, self._challenge = camera, simulated, challenge
        self._seed = secrets.token_hex(16)
        check_no_links(folder, (CLIPS, FRAMES))
        self._folder, self.name = folder, _free_name(folder, self._species)
        self._session = looking.session(challenge, self._seed, lambda _probe: True, timeout_s=LONGEST_S)
        self._writer = _Writer(folder / FRAMES / f"{self.name}.partial")
        self._first_s: float | None = None
        self._times: list[float] = []
        self._prompts: list[tuple[float, float] | None] = []
        self._cancelled = self._broken = self._gray = False
        self.clip: Clip | None = None
        self._outcome: Outcome | None = None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self._session.close()
        self._finish(keep=kind is None and bool(self._times) and not self._broken)

    @property
    def outcome(self) -> Outcome | None:
        """What was recorded; it opens nothing, whoever it was."""
        return self._outcome

    def cancel(self, reason: str = "cancelled") -> None:
        """End the clip here. Where frames come afterwards, it was given up in the middle, and is not kept."""
        self._cancelled = self._outcome is None
        self._ended(reason)

    def feed(self, frame: Any) -> Progress:
        """Go on by one frame, and keep it. InputError where it cannot be kept.

        frame: a CapturedFrame.
        """
        self._broken = self._broken or self._cancelled
        image, now_s = array_frame(frame.image), float(frame.time_s)
        self._first_s = now_s if self._first_s is None else self._first_s
        time_s = round(now_s - self._first_s, 6)
        if self._outcome is not None or time_s < (self._times[-1] if self._times else 0) or self._is_over(time_s):
            self._ended("the clip is recorded")
            return Progress(SessionPhase.DONE, done=True, fraction=1.0)
        progress = self._session.feed(image, time_s=time_s)
        self._writer.write(image)
        self._gray = image.ndim == 2
        self._times.append(time_s)
        shown = progress.prompt
        self._prompts.append(None if shown is None else (round(shown.x, 4), round(shown.y, 4)))
        if not progress.done:
            return progress
        if self._species == LIVE:
            self._ended("the clip is recorded")
            return progress
        return replace(progress, done=False, fraction=min(1.0, time_s / self._seconds))

    def _is_over(self, time_s: float) -> bool:
        return time_s > self._seconds or len(self._times) >= MOST_FRAMES

    def _ended(self, reason: str) -> None:
        if self._outcome is None:
            elapsed_ms = self._times[-1] * 1e3 if self._times else 0.0
            self._outcome = Outcome(Decision.NOT_COMPLETED, reason, Guidance.NONE, elapsed_ms)

    def _finish(self, *, keep: bool) -> None:
        """Put the clip where it belongs: first its frames, then the line that makes it count."""
        partial, final = self._folder / FRAMES / f"{self.name}.partial", self._folder / FRAMES / self.name
        try:
            self._writer.close()
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        if not keep:
            shutil.rmtree(partial, ignore_errors=True)
            return
        try:
            partial.rename(final)
            self.clip = Clip(
                self.name, self._species, self._person, self._camera, self._simulated, self._challenge, self._seed,
                tuple(self._times), tuple(self._prompts), self._gray,
            )  # fmt: skip
            append_line(self._folder / CLIPS, _line(self.clip))
        except OSError as error:
            raise InputError(f"{final}: cannot be written ({error.strerror})") from error


def _line(clip: Clip) -> dict[str, Any]:
    """The clip as clips_of reads it, and what else a person wants to know."""
    from facesdk.version import __version__

    times = clip.times_s or ()
    return {
        "clip": clip.name, "species": clip.species, "person": clip.person, "camera": clip.camera,
        "simulated": clip.simulated, "challenge": clip.challenge, "seed": clip.seed, "gray": clip.gray,
        "facesdk": __version__,
        "unix_s": int(time.time()), "frames": len(times),
        "fps": round((len(times) - 1) / times[-1], 2) if len(times) > 1 and times[-1] > 0 else None,
        "times_s": list(times), "prompts": [None if p is None else list(p) for p in clip.prompts],
    }  # fmt: skip


def _free_name(folder: Path, species: str) -> str:
    """The next name of a clip; what a killed recording has left behind is removed."""
    frames = folder / FRAMES
    try:
        frames.mkdir(mode=0o700, exist_ok=True)
        for left in frames.glob("*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        there = {path.name for path in frames.iterdir()}
    except OSError as error:
        raise InputError(f"{frames}: cannot be written ({error.strerror})") from error
    return next(name for number in range(1, 100_000) if (name := f"{species}-{number:04}") not in there)


class _Writer:
    """Writes frames as PNG files in a thread of its own: lossless, so that a session sees the same again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({error.strerror})") from error
        self._queue: queue.Queue[Frame | None] = queue.Queue(_WAITING)
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="facesdk redteam", daemon=True)
        self._thread.start()

    def write(self, image: Frame) -> None:
        """Write it soon; waits where the disk is far behind."""
        self._check()
        self._queue.put(image.copy())

    def close(self) -> None:
        """Wait until all is written."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise InputError(f"{self._folder}: cannot be written ({self._error.strerror})") from self._error

    def _run(self) -> None:
        from PIL import Image

        number = 0
        while (image := self._queue.get()) is not None:
            if self._error is None:
                try:
                    Image.fromarray(image).save(self._folder / f"{number:06}.png", compress_level=1)
                except OSError as error:
                    self._error = error
            number += 1
