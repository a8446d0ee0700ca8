"""Whether a print or a screen is noticed in single frames, by two optional networks; and the rule that decides by them.

The networks are MiniFASNet of Silent-Face-Anti-Spoofing, which a user adds (docs/optional-models.md has what they are
and what was measured). They deny; they do not prove: close, dark or very good screens pass.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NoReturn

from facesdk import _core
from facesdk.engine.optional.catalogue import named
from facesdk.engine.optional.golden import SIDE, network_input
from facesdk.engine.optional.store import load, usual_folders
from facesdk.engine.runtime import network_of, open_runtime, run_native
from facesdk.errors import ForkedError, InputError
from facesdk.images.frames import array_frame

if TYPE_CHECKING:
    from facesdk.types import Float32Array, Frame, Sample

NETWORKS = ("minifasnet_2_7", "minifasnet_4_0")
LIVE = 1  # of the three classes
THRESHOLD = 0.5
NEEDED = 5  # sampled frames that a verdict is the median of
# Mean gray level of the face's crop. Under the darkest faces of living people that were measured (46,
# benchmarks/passive.py): what the networks say of darker ones is not known, and dark screens pass.
MIN_BRIGHTNESS = 40.0
# Mean difference of a pixel's colours, in gray levels: infrared cameras have none, the least of a webcam was 3.2.
MIN_COLOUR = 1.0


class PassiveVerdict(Enum):
    """What the sampled frames say so far."""

    PENDING = "pending"  # too few frames, or too dark to tell
    LIVE = "live"  # no print and no ordinary screen was noticed
    DENIED = "denied"  # a print or a screen
    UNAVAILABLE = "unavailable"  # frames without colour, on which the networks know nothing


@dataclass(frozen=True)
class PassiveSample:
    """What one frame shows.

    Attributes:
        brightness: mean gray level of the face, as Quality has it.
        live: mean probability of both networks that the face is live; None where the frame has no colour.
    """

    brightness: float
    live: float | None = field(repr=False)


def passive_verdict(samples: Sequence[PassiveSample]) -> PassiveVerdict:
    """The verdict of all frames sampled so far: LIVE if the median of NEEDED or more bright ones is over THRESHOLD.

    Dark frames do not count, and a probability that is no number counts as 0. As many frames without colour as would be
    needed make it UNAVAILABLE: what is not in colour can neither pass nor be denied.
    """
    bright = [s for s in samples if s.brightness >= MIN_BRIGHTNESS]  # NaN is not
    values = [s.live if 0.0 <= s.live <= 1.0 else 0.0 for s in bright if s.live is not None]
    if sum(s.live is None for s in samples) >= NEEDED:
        return PassiveVerdict.UNAVAILABLE
    if len(values) < NEEDED:
        return PassiveVerdict.PENDING
    return PassiveVerdict.LIVE if median(values) > THRESHOLD else PassiveVerdict.DENIED


def patch_corners(width: int, height: int, box_px: Float32Array, scale: float) -> tuple[int, int, int, int]:
    """First and last column and row (left, top, right, bottom) of what a network sees of a face.

    The box scaled about its centre, by less where the frame is too small, then shifted into the frame. Source:
    CropImage._get_new_box of Silent-Face-Anti-Spoofing, src/generate_patches.py.
    """
    x0, y0, x1, y1 = (float(v) for v in box_px)
    across, down = x1 - x0, y1 - y0
    if not (all(map(math.isfinite, (x0, y0, x1, y1))) and across > 0 and down > 0):
        raise InputError("expected a face's box x0, y0, x1, y1 with x0 < x1 and y0 < y1: face.box_px of Engine.detect")
    scale = min((height - 1) / down, (width - 1) / across, scale)
    left, right = _shifted((x0 + x1) / 2, across * scale, width)
    top, bottom = _shifted((y0 + y1) / 2, down * scale, height)
    return left, top, right, bottom


def _shifted(centre: float, length: float, size: int) -> tuple[int, int]:
    """First and last pixel of a stretch, in a frame of this size."""
    first, last = centre - length / 2, centre + length / 2
    if first < 0:
        first, last = 0.0, last - first
    if last > size - 1:
        first, last = first - (last - size + 1), float(size - 1)
    return max(int(first), 0), int(last)


def patch(frame: Frame, box_px: Float32Array, scale: float) -> Frame:
    """uint8 (SIDE, SIDE, 3), RGB: what a network sees of a face, resized bilinearly with pixel centres at halves.

    frame: uint8 (H, W, 3), RGB, C-contiguous. cv2.resize of the cut-out patch differs by one gray level at most, but at
    the edges of a patch that is smaller than SIDE: there this one looks over the edge.
    """
    height, width = frame.shape[:2]
    left, top, right, bottom = patch_corners(width, height, box_px, scale)
    across, down = (right - left + 1) / SIDE, (bottom - top + 1) / SIDE
    back = (across, 0.0, left + (across - 1) / 2, 0.0, down, top + (down - 1) / 2)
    warped: Frame = run_native(_core.warp_u8, _core.variant(), frame, back, (SIDE, SIDE))
    return warped


def has_colour(crop: Frame) -> bool:
    """Whether a uint8 (h, w, 3) picture is in colour: an infrared camera's three planes are alike."""
    import numpy as np

    planes = crop.astype(np.int16)
    return float(np.abs(planes - np.roll(planes, 1, axis=2)).mean()) >= MIN_COLOUR


class Passive:
    """The two networks. Made by `load`; calls from several threads wait for each other."""

    def __init__(self, networks: Sequence[tuple[_core.Network, float]]) -> None:
        self._networks = tuple(networks)  # each with how many times the box it sees
        self._lock = threading.Lock()
        self._process = _core.process_token()

    def __repr__(self) -> str:
        return "Passive()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("networks live in this process: load them where they are needed")

    @classmethod
    def load(cls, folders: Sequence[Path] | None = None, *, threads: int = 1) -> Passive | None:
        """Load both networks, each checked against the list of models/optional.toml.

        Args:
            folders: where they are looked for; without it the user's and the system's.
            threads: of each network, 1 to 16.

        Returns:
            The networks; None where one of them is not there. `why_missing` says which.

        Raises:
            InputError: threads is no number from 1 to 16.
            ModelIntegrityError: one is there, and is not what the list says or could be written by others.
            AcceleratorError: no runtime can be used.
        """
        places = usual_folders() if folders is None else folders
        found = [(named(name), load(named(name), places)) for name in NETWORKS]
        models = [(known, model) for known, model in found if model is not None]
        if len(models) != len(NETWORKS):
            return None
        _, networks = open_runtime(
            "auto", lambda runtime: [(network_of(runtime, known.model, model), known.scale) for known, model in models],
            threads=threads,
        )  # fmt: skip
        return cls(networks)

    def live_probability(self, frame: Frame, face_box_px: Float32Array) -> float:
        """How sure the networks are that a face is live: the mean of both, 0 to 1; 0 where one answers no number.

        Args:
            frame: uint8 (H, W, 3), RGB.
            face_box_px: box_px of a face as Engine.detect and Engine.observe give it, of the short-range detector:
                another detector's boxes, or the mesh's, are of another size, and the answers mean nothing then.

        Raises:
            InputError: a frame in gray, or a box that is none.
            AcceleratorError: the networks cannot be run.
            ForkedError: they were loaded before a fork.
        """
        frame = array_frame(frame)
        if frame.ndim != 3:
            raise InputError("expected a frame in colour, uint8 (H, W, 3) in RGB: in gray the networks know nothing")
        return self._mean(frame, face_box_px)

    def look(self, frame: Frame, sample: Sample) -> PassiveSample:
        """What a frame shows of the face that Engine.observe found in it; errors as in live_probability."""
        frame = array_frame(frame)
        box = sample.face.box_px
        coloured = frame.ndim == 3 and has_colour(patch(frame, box, 1.0))
        return PassiveSample(sample.quality.brightness, self._mean(frame, box) if coloured else None)

    def _mean(self, frame: Frame, box_px: Float32Array) -> float:
        if _core.process_token() != self._process:  # the lock may be held for ever by a thread that stayed behind
            raise ForkedError("the networks were loaded before a fork: load them in the process that uses them")
        answers = []
        for network, scale in self._networks:
            seen = network_input(patch(frame, box_px, scale))
            with self._lock:
                (classes,) = run_native(network.run, seen)
            answers.append(float(classes.ravel()[LIVE]))
        mean = sum(answers) / len(answers)
        return mean if 0.0 <= mean <= 1.0 else 0.0


def why_missing(folders: Sequence[Path] | None = None) -> str:
    """Why `Passive.load` gives None: a sentence; "" where both networks are there."""
    places = usual_folders() if folders is None else folders
    missing = [known for name in NETWORKS if load((known := named(name)), places) is None]
    if not missing:
        return ""
    listed = ", ".join(f"{known.name} (made of {known.source.file})" for known in missing)
    return f"passive liveness needs optional models that are not there: {listed}; `facesdk models add FILE` adds them"
