"""The first moment of a session: a face that is straight and still, with open eyes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from facesdk.types import Guidance

if TYPE_CHECKING:
    from facesdk.capture.appearance import View
    from facesdk.liveness.challenge import Turn
    from facesdk.types import Sample

ALIGN_S, ALIGN_DEG, STRAIGHT_DEG = 0.3, 5.0, 20.0
LEAST_FRAMES = 3


@dataclass
class _Candidate:
    """A frame of the moment; whether its eyes are open is looked at once, when it matters."""

    view: View
    sample: Sample
    awake: bool | None = None


class Alignment:
    """Frames of one face, until they are a moment in which it kept still.

    Args:
        is_awake: whether the eyes are open in a frame, and look ahead.
    """

    def __init__(self, is_awake: Callable[[View, Sample], bool]) -> None:
        self._is_awake = is_awake
        self._window: deque[_Candidate] = deque()

    @property
    def neutral(self) -> Turn:
        """The mean pose of the moment: yaw and pitch in degrees."""
        return fmean(self._yaws), fmean(self._pitches)

    @property
    def awake(self) -> list[Sample]:
        """The samples of the moment whose eyes are open."""
        for one in self._window:
            one.awake = self._is_awake(one.view, one.sample) if one.awake is None else one.awake
        return [one.sample for one in self._window if one.awake]

    def clear(self) -> None:
        """Begin anew."""
        self._window.clear()

    def feed(self, view: View, sample: Sample) -> Guidance:
        """Take a good frame; NONE once the face was straight and still for ALIGN_S, else what is to be done."""
        self._window.append(_Candidate(view, sample))
        while len(self._window) > 1 and view.time_s - self._window[1].view.time_s >= ALIGN_S:
            self._window.popleft()
        if not max(map(abs, (*self._yaws, *self._pitches))) <= STRAIGHT_DEG:
            return Guidance.LOOK_STRAIGHT
        still = all(max(angles) - min(angles) <= ALIGN_DEG for angles in (self._yaws, self._pitches))
        long = view.time_s - self._window[0].view.time_s >= ALIGN_S and len(self._window) >= LEAST_FRAMES
        return Guidance.NONE if still and long else Guidance.KEEP_STILL

    @property
    def _yaws(self) -> list[float]:
        return [one.sample.face.pose.yaw_deg for one in self._window]

    @property
    def _pitches(self) -> list[float]:
        return [one.sample.face.pose.pitch_deg for one in self._window]
