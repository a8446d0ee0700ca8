"""Puts every clip of a red-team test through a session, and writes what it came to: outcomes, no scores, no features.

A recorded clip is judged by the challenge that was shown while it was recorded: its frames are the same to the bit, so
the same path begins at the same frame. Attacks go through fresh paths besides.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk.errors import CameraError, InputError
from facesdk.evaluation.redteam_folder import (
    FRAMES,
    LIVE,
    MAX_PICTURE,
    MOST_FRAMES,
    RESULTS,
    VIDEOS,
    Clip,
    append_line,
    check_no_links,
    clips_of,
    drop_unfinished_line,
    mark,
    pictures_of,
    read_lines,
    read_regular,
)
from facesdk.types import Assurance, Decision, Guidance, Prompt

if TYPE_CHECKING:
    from facesdk.capture.samples import Probe
    from facesdk.capture.session import Session
    from facesdk.evaluation.redteam_session import Looking, Matcher
    from facesdk.types import Frame

FPS = 15.0  # of a folder of pictures that nobody gave times for
MOST_DRAWS, HIGHEST_SEED = 100, 10**9
# Between the dot that was shown and the one of the same session now, of the picture: rounding alone is allowed for.
SAME_DOT = 0.001
SHOWN, FRESH, NOTHING = "shown", "fresh", "none"


@dataclass(frozen=True)
class Settings:
    """What results depend on; a run goes on only with those that it began with.

    Attributes:
        liveness: the tier, in small letters.
        challenge: of fresh paths.
        draws: fresh paths for each attack.
        seed: of fresh paths.
        passive: whether the passive networks looked.
        user: whose template was compared with; empty without the matcher.
        generation: of that template; 0 without.
        embedder: of the engine.
        facesdk: the version.
    """

    liveness: str
    challenge: str
    draws: int
    seed: int
    passive: bool
    user: str
    generation: int
    embedder: str
    facesdk: str

    @classmethod
    def of(
        cls, looking: Looking, matcher: Matcher | None, *, challenge: str, draws: int, seed: int
    ) -> Settings:  # fmt: skip
        """The settings of a run. InputError for draws or a seed out of bounds."""
        from facesdk.version import __version__

        if not 1 <= draws <= MOST_DRAWS:
            raise InputError(f"draws must be 1 to {MOST_DRAWS}, not {draws!r}")
        if not 0 <= seed <= HIGHEST_SEED:
            raise InputError(f"a seed is 0 to {HIGHEST_SEED}, not {seed!r}")
        return cls(
            looking.liveness.name.lower(), challenge, draws, seed, looking.passive, matcher.user if matcher else "",
            matcher.generation if matcher else 0, looking.engine.embedder, __version__,
        )  # fmt: skip


@dataclass(frozen=True)
class Presentation:
    """One clip through one session. path: SHOWN, FRESH or NOTHING, where the tier has no challenge."""

    clip: Clip
    draw: int
    path: str


def presentations(clips: list[Clip], settings: Settings) -> tuple[list[Presentation], list[Clip]]:
    """What is to be judged, and the live clips that cannot be: nobody knows what they were shown, if anything."""
    found, left_out = [], []
    challenged = settings.liveness == Assurance.RGB_CHALLENGE.name.lower()
    for clip in clips:
        if not challenged:
            found.append(Presentation(clip, 0, NOTHING))
            continue
        if clip.recorded:
            found.append(Presentation(clip, 0, SHOWN))
        elif clip.species == LIVE:
            left_out.append(clip)
        if clip.species != LIVE:
            found += [Presentation(clip, draw, FRESH) for draw in range(1, settings.draws + 1)]
    return found, left_out


def run(
    folder: Path, looking: Looking, matcher: Matcher | None, settings: Settings, *, restart: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> tuple[int, list[Clip]]:  # fmt: skip
    """Judge all that has no result yet.

    Args:
        folder: of the test.
        looking: what sessions look with.
        matcher: decides whether who passed is the owner; None to measure liveness alone.
        settings: as Settings.of makes them.
        restart: forget the results that are there.
        progress: called with how many are done, and of how many.

    Returns:
        How many were judged now, and the live clips that cannot be.

    Raises:
        InputError: what lies in the folder is not what it should be; results of other settings are there.
        CameraError: a video that cannot be read.
    """
    todo, left_out = presentations(clips_of(folder), settings)
    if not todo:
        raise InputError(f"{folder}: there is no clip to judge", hint="facesdk redteam record makes some")
    mark(folder)
    with _only_one(folder / RESULTS):
        known = _known(folder, settings, restart=restart)
        left = [one for one in todo if (one.clip.name, one.draw) not in known]
        for number, one in enumerate(left):
            progress(len(todo) - len(left) + number, len(todo))
            append_line(folder / RESULTS, judged(folder, one, looking, matcher, settings))
        progress(len(todo), len(todo))
    return len(left), left_out


def judged(
    folder: Path, one: Presentation, looking: Looking, matcher: Matcher | None, settings: Settings
) -> dict[str, Any]:
    """The result of one presentation, as a line of RESULTS."""
    clip, reached = one.clip, list[bool]()

    def compare(probe: Probe) -> bool:
        reached.append(matcher is None or matcher.matches(probe))
        return reached[-1]

    shown = one.path == SHOWN
    challenge = clip.challenge if shown else settings.challenge
    seed = clip.seed if shown else f"{settings.seed} {clip.name} {one.draw}"
    seen = _Seen(clip if shown else None)
    try:
        with looking.session(challenge, seed, compare) as session, contextlib.closing(_frames(folder, clip)) as frames:
            _fed(session, frames, seen)
    except (InputError, CameraError) as error:
        raise type(error)(f"{clip.name}: {error.message}", hint="repair the clip or remove it, and run again") \
            from error  # fmt: skip
    outcome = session.outcome
    assert outcome is not None  # the context's end sees to it
    answered = seen.ended or seen.slipped
    return {
        "clip": clip.name, "species": clip.species, "person": clip.person, "simulated": clip.simulated,
        "draw": one.draw, "path": one.path, "comparable": not seen.differs, "answered": answered,
        "live": bool(reached), "match": reached[-1] if reached and matcher is not None else None,
        "attack_suspected": outcome.decision is Decision.ATTACK_SUSPECTED, "reason": _reason(outcome.reason, reached),
        "decided_ms": round(outcome.elapsed_ms) if seen.ended else None, "frames": seen.frames,
    }  # fmt: skip


class _Seen:
    """What a session said meanwhile. clip: the one whose prompts it should show again; None for a fresh path."""

    def __init__(self, clip: Clip | None) -> None:
        self._clip = clip
        self.frames = 0
        self.ended = self.slipped = self.differs = False

    def note(self, progress: Any) -> None:
        """One frame's."""
        self.slipped = self.slipped or progress.guidance is Guidance.TRY_AGAIN
        self.ended = progress.done
        if self._clip is not None and not progress.done and not _same(progress.prompt, self._clip.prompts[self.frames]):
            self.differs = True
        self.frames += 1


def _fed(session: Session, frames: Iterator[tuple[Frame, float]], seen: _Seen) -> None:
    for image, time_s in frames:
        seen.note(session.feed(image, time_s=time_s))
        if seen.ended or seen.differs:
            return
    session.cancel("the clip is over")


def _same(prompt: Prompt | None, shown: tuple[float, float] | None) -> bool:
    if prompt is None or shown is None:
        return prompt is None and shown is None
    return abs(prompt.x - shown[0]) <= SAME_DOT and abs(prompt.y - shown[1]) <= SAME_DOT


def _reason(reason: str, reached: list[bool]) -> str:
    """Why, without the matcher's words, which `match` says."""
    return "passed" if reached else reason


def _frames(folder: Path, clip: Clip) -> Generator[tuple[Frame, float], None, None]:
    """The frames of a clip with their times. InputError, CameraError."""
    path = folder / FRAMES / clip.name if clip.recorded else folder / clip.name
    check_no_links(path.parent, (path.name,))
    if not clip.recorded and path.suffix.lower() in VIDEOS and not path.is_dir():
        if not path.is_file():  # a pipe would keep its reader waiting
            raise InputError(f"{path}: expected a regular file")
        yield from _video(path)
        return
    from facesdk.images import decode_rgb

    pictures = pictures_of(path)
    times = clip.times_s or tuple(number / FPS for number in range(len(pictures)))
    if len(times) != len(pictures):
        raise InputError(f"{path}: {len(pictures)} frames, where {len(times)} were recorded")
    for picture, time_s in zip(pictures, times, strict=True):
        image = decode_rgb(read_regular(picture, limit=MAX_PICTURE), name=picture.name)
        yield image[..., 0].copy() if clip.gray else image, time_s


def _video(path: Path) -> Iterator[tuple[Frame, float]]:
    from facesdk.camera import VideoSource

    with VideoSource(path) as source:
        for frame in source:
            if frame.sequence >= MOST_FRAMES:
                raise InputError(f"{path}: more than {MOST_FRAMES} frames")
            yield frame.image, frame.time_s


@contextlib.contextmanager
def _only_one(results: Path) -> Iterator[None]:
    """Within, no other run writes these results. InputError where one does."""
    try:
        descriptor = os.open(results, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise InputError(f"{results}: cannot be written ({error.strerror})") from error
    with open(descriptor, "rb"):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{results}: another run is at work", hint="wait for it") from error
        yield


def _known(folder: Path, settings: Settings, *, restart: bool) -> set[tuple[str, int]]:
    """Which presentations have a result of these settings; begins the file where there is none. InputError."""
    path = folder / RESULTS
    if restart:
        os.truncate(path, 0)
    drop_unfinished_line(path)
    rows = read_lines(path)
    if not rows:
        append_line(path, {"schema": "facesdk-redteam/1", "settings": asdict(settings)})
        return set()
    began = rows[0].get("settings")
    if began != asdict(settings):
        names = [name for name, value in asdict(settings).items() if not isinstance(began, dict)
                 or began.get(name) != value]  # fmt: skip
        raise InputError(
            f"{path}: there are results of other settings ({', '.join(names)})", hint="--restart forgets them"
        )
    return {(str(row.get("clip")), int(row.get("draw", 0))) for row in rows[1:] if isinstance(row.get("draw"), int)}
