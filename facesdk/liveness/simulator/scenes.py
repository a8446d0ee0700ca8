"""What may stand before a camera, as functions of time: a live head, prints, a phone that plays a clip, and others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from facesdk.liveness.simulator.camera import Camera
from facesdk.liveness.simulator.geometry import Surface, rotation, sheet
from facesdk.liveness.simulator.head import Head
from facesdk.liveness.simulator.texture import Texture

if TYPE_CHECKING:
    from facesdk.types import Frame

Three: TypeAlias = tuple[float, float, float]
Motion: TypeAlias = Callable[[float], Three]  # of a time in seconds: yaw, pitch, roll in degrees, or x, y, z in cm


def still(a: float = 0.0, b: float = 0.0, c: float = 0.0) -> Motion:
    """The same at all times."""
    return lambda _time_s: (a, b, c)


def swing(reach: Three, *, period_s: float, about: Three = (0, 0, 0)) -> Motion:
    """To and fro, from `about` by `reach` to either side."""

    def at(time_s: float) -> Three:
        x, y, z = np.add(about, np.multiply(reach, math.sin(2 * math.pi * time_s / period_s))).tolist()
        return x, y, z

    return at


def tremble(size: float, *, seed: int = 0, about: Three = (0, 0, 0)) -> Motion:
    """As a hand or a head does that is held still: three waves of .3 to 4 Hz for each number, by `size` at most."""
    random = np.random.default_rng((seed, 3))
    rates, phases = random.uniform(0.3, 4.0, (3, 3)), random.uniform(0, 2 * math.pi, (3, 3))

    def at(time_s: float) -> Three:
        x, y, z = (np.sin(2 * math.pi * rates * time_s + phases).mean(axis=1) * size + about).tolist()
        return x, y, z

    return at


class Scene:
    """Nothing but the background; the others say what stands in front of it."""

    def surfaces(self, time_s: float) -> list[Surface]:
        """What is there at this time."""
        return []

    def render(self, time_s: float, camera: Camera | None = None) -> Frame:
        """uint8 (H, W, 3), RGB, of this camera; default one of 640 x 480."""
        return (camera or Camera()).render(self.surfaces(time_s), time_s)


Empty = Scene
_STRAIGHT, _AT_50_CM, _AT_30_CM = still(), still(0, 0, 50), still(0, 0, 30)


@dataclass(frozen=True, eq=False)
class LiveHead(Scene):
    """A head that moves. closed_at: how far the lids are closed, 0 to 1."""

    head: Head
    pose_at: Motion = _STRAIGHT
    position_at: Motion = _AT_50_CM
    closed_at: Callable[[float], float] = lambda _time_s: 0.0

    def surfaces(self, time_s: float) -> list[Surface]:
        return [self.head.turned(self.pose_at(time_s), self.position_at(time_s), self.closed_at(time_s))]


@dataclass(frozen=True, eq=False)
class Print(Scene):
    """A picture (uint8, RGB) on paper, turned about its middle, which is at position_at.

    bend_cm is the radius of the upright cylinder that it is bent to, 8 to 20, or inf: flat; width_cm is measured along
    the paper, and with Head.portrait_cm the face has its own size.
    """

    picture: Frame
    pose_at: Motion = _STRAIGHT
    position_at: Motion = _AT_50_CM
    bend_cm: float = math.inf
    width_cm: float = 20.0

    @cached_property
    def _sheet(self) -> Surface:
        return sheet(Texture(self.picture), width_cm=self.width_cm, bend_cm=self.bend_cm)

    def surfaces(self, time_s: float) -> list[Surface]:
        return [_placed(self._sheet, self.pose_at(time_s), self.position_at(time_s))]


@dataclass(frozen=True, eq=False)
class Replay(Scene):
    """A phone or tablet that plays recorded frames (uint8, RGB, of one size) over and over, turned about its middle.

    width_cm is the screen's without the bezel, which is black and `bezel` of it wide each side; glow is its white, of
    the paper's. It has no visible pixels, flicker or reflections.
    """

    frames: Sequence[Frame]
    pose_at: Motion = _STRAIGHT
    position_at: Motion = _AT_30_CM
    fps: float = 30.0
    width_cm: float = 14.0
    bezel: float = 0.06
    glow: float = 1.0

    def surfaces(self, time_s: float) -> list[Surface]:
        shown = self.frames[int(time_s * self.fps + 1e-6) % len(self.frames)]
        lit = np.minimum(np.arange(256) * self.glow + 4, 255).astype(np.uint8)[shown]  # its black is not quite black
        edge = round(shown.shape[1] * self.bezel)
        phone = np.pad(lit, ((edge, edge), (edge, edge), (0, 0)), constant_values=12)
        plane = sheet(Texture(phone, levels=2), width_cm=self.width_cm * phone.shape[1] / shown.shape[1])
        return [_placed(plane, self.pose_at(time_s), self.position_at(time_s))]


def _placed(surface: Surface, pose: Three, at_cm: Three) -> Surface:
    return surface._replace(points_cm=surface.points_cm @ rotation(*pose).T + np.array(at_cm))


class Together(Scene):
    """Several scenes at once."""

    def __init__(self, *scenes: Scene) -> None:
        self.scenes = scenes

    def surfaces(self, time_s: float) -> list[Surface]:
        return [surface for scene in self.scenes for surface in scene.surfaces(time_s)]


def two_people(one: Head, other: Head, *, apart_cm: float = 22.0, distance_cm: float = 60.0) -> Scene:
    """Two heads side by side, at the same distance."""
    places = (still(side * apart_cm / 2, 0, distance_cm) for side in (-1, 1))
    return Together(*(LiveHead(head, still(), place) for head, place in zip((one, other), places, strict=True)))


def before_poster(scene: Scene, poster: Frame, *, width_cm: float = 60.0, at_cm: Three = (45, -15, 180)) -> Scene:
    """The scene with a large print on the wall behind it."""
    return Together(scene, Print(poster, still(), still(*at_cm), width_cm=width_cm))


@dataclass(frozen=True, eq=False)
class Seen(Scene):
    """A scene in other light, or with rows or columns of its frames in reverse."""

    scene: Scene
    light: float = 1.0
    rows: int = 1
    columns: int = 1

    def surfaces(self, time_s: float) -> list[Surface]:
        return self.scene.surfaces(time_s)

    def render(self, time_s: float, camera: Camera | None = None) -> Frame:
        camera = camera or Camera()
        camera = camera if self.light == 1 else replace(camera, exposure=camera.exposure * self.light)
        return np.ascontiguousarray(self.scene.render(time_s, camera)[:: self.rows, :: self.columns])


def night(scene: Scene, *, light: float = 0.08) -> Scene:
    """The scene in the dark: the light goes, the noise stays."""
    return Seen(scene, light=light)


def upside_down(scene: Scene) -> Scene:
    """The scene as a camera sees it that is mounted upside down."""
    return Seen(scene, rows=-1, columns=-1)


def mirrored(scene: Scene) -> Scene:
    """The scene as a camera sees it that mirrors its picture: what turns left, turns right."""
    return Seen(scene, columns=-1)


def clip(
    scene: Scene, seconds: float, *, fps: float = 15, camera: Camera | None = None
) -> Iterator[tuple[Frame, float]]:
    """The frames of a scene, each with its time in seconds, from 0 on."""
    camera = camera or Camera()
    for number in range(round(seconds * fps)):
        yield scene.render(number / fps, camera), number / fps
