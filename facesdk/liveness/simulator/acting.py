"""A person, or somebody who plays one, in front of a camera: what a session shows decides how the head turns."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from facesdk.liveness.challenge import PITCH_SHARE, RADIUS_DEG, SHOWN_RADIUS
from facesdk.liveness.simulator.camera import Camera
from facesdk.liveness.simulator.people import Person, Place, Prompt

if TYPE_CHECKING:
    from facesdk.liveness.simulator.scenes import Scene
    from facesdk.types import Frame
    from facesdk.types import Prompt as Shown


class Screen:
    """What was shown so far, as the path of a dot that eyes can follow: nothing is straight ahead."""

    def __init__(self) -> None:
        self._times = [0.0]
        self._places: list[Place] = [(0.0, 0.0)]

    def show(self, time_s: float, prompt: Shown | None) -> None:
        """From this time on, this is shown. Times rise."""
        self._times.append(time_s)
        self._places.append((0.0, 0.0) if prompt is None else place_of(prompt))

    def __call__(self, time_s: float) -> Place:
        """Where the dot was: yaw and pitch of a head that points to it, degrees."""
        return self._places[max(bisect_right(self._times, time_s) - 1, 0)]


def place_of(prompt: Shown) -> Place:
    """Yaw and pitch of a head that points where the prompt is shown, degrees."""
    furthest = RADIUS_DEG[1] / SHOWN_RADIUS
    return (0.5 - prompt.x) * furthest, (prompt.y - 0.5) * furthest * PITCH_SHARE


def acted(who: Person, screen: Screen) -> Callable[[float], tuple[float, float, float]]:
    """The poses of a person who follows what the screen shows: of a time, yaw, pitch and roll in degrees."""
    prompts = [Prompt.dot(0.0, screen)]
    return lambda time_s: who.pose(time_s, prompts)


def frames(scene: Scene, camera: Camera | None = None, *, fps: float = 15.0) -> Iterator[tuple[Frame, float]]:
    """What the camera sees of a scene, frame by frame without end, with the times."""
    camera = camera or Camera()
    number = 0
    while True:
        yield scene.render(number / fps, camera), number / fps
        number += 1


def perform(session: Any, scene: Scene, screen: Screen, camera: Camera | None = None, *, fps: float = 15.0) -> Any:
    """Feed a session with what the camera sees, and show on the screen what it says, until it is done: its outcome.

    A session ends by itself, in any case when its time is over.
    """
    for image, time_s in frames(scene, camera, fps=fps):
        progress = session.feed(image, time_s=time_s)
        screen.show(time_s, progress.prompt)
        if progress.done:
            return session.outcome
