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

# Of a time in seconds: yaw, pitch and roll in degrees, or x, y and z in cm.
Motion: TypeAlias = Callable[[float], tuple[float, float, float]]


def still(a: float = 0.0, b: float = 0.0, c: float = 0.0) -> Motion:
    """The same at all times."""
    return lambda _time_s: (a, b, c)


def swing(reach: tuple[float, float, float], *, period_s: float, about: tuple[float, float, float] = (0, 0, 0)) -> Motion:
    """To and fro, from `about` by `reach` to either side."""

    def at(time_s: float) -> tuple[float, float, float]:
        part = math.sin(2 * math.pi * time_s / period_s)
        return about[0] + reach[0] * part, about[1] + reach[1] * part, about[2] + reach[2] * part

    return at


def tremble(size: float, *, seed: int = 0, about: tuple[float, float, float] = (0, 0, 0)) -> Motion:
    """As a hand or a head does that is held still: three waves of .3 to 4 Hz for each number, `size` at most."""
    random = np.random.default_rng((seed, 3))
    rates, phases = random.uniform(0.3, 4.0, (3, 3)), random.uniform(0, 2 * math.pi, (3, 3))

    def at(time_s: float) -> tuple[float, float, float]:
        waves = np.sin(2 * math.pi * rates * time_s + phases).sum(axis=1) * size / 3
        return about[0] + float(waves[0]), about[1] + float(waves[1]), about[2] + float(waves[2])

    return at


class Scene:
    """Nothing but the background; the others say what stands in front of it."""

    def surfaces(self, time_s: float) -> list[Surface]:
        """What is there at this time."""
        return []

    def render(self, time_s: float, camera: Camera | None = None) -> Frame:
        """uint8 (H, W, 3), RGB, of this camera; default one of 640 x 480."""
        camera = camera or Camera()
        return camera.render(self.surfaces(time_s), time_s)


Empty = Scene


@dataclass(frozen=True, eq=False)
class LiveHead(Scene):
    """A head that moves. closed_at: how far the lids are closed, 0 to 1."""

    head: Head
    pose_at: Motion = still()
    position_at: Motion = still(0, 0, 50)
    closed_at: Callable[[float], float] = lambda _time_s: 0.0

    def surfaces(self, time_s: float) -> list[Surface]:
        return [self.head.turned(self.pose_at(time_s), self.position_at(time_s), self.closed_at(time_s))]


@dataclass(frozen=True, eq=False)
class Print(Scene):
    """A picture on paper, turned about its middle.

    Attributes:
        picture: uint8 (H, W, 3), RGB.
        pose_at: how it is tilted, to some 60 degrees.
        position_at: of its middle.
        bend_cm: radius of the cylinder that it is bent to, 8 to 20; inf: flat.
        width_cm: along the paper; Head.portrait_cm shows a face in its own size.
    """

    picture: Frame
    pose_at: Motion = still()
    position_at: Motion = still(0, 0, 50)
    bend_cm: float = math.inf
    width_cm: float = 20.0

    @cached_property
    def _sheet(self) -> Surface:
        return sheet(Texture(self.picture), width_cm=self.width_cm, bend_cm=self.bend_cm)

    def surfaces(self, time_s: float) -> list[Surface]:
        turned = self._sheet.points_cm @ rotation(*self.pose_at(time_s)).T + np.array(self.position_at(time_s))
        return [self._sheet._replace(points_cm=turned)]


@dataclass(frozen=True, eq=False)
class Replay(Scene):
    """A phone or tablet that plays recorded frames, over and over.

    Attributes:
        frames: uint8 (H, W, 3), RGB, all of one size.
        pose_at: how it is turned.
        position_at: of its middle.
        fps: of the recording.
        width_cm: of the screen without its bezel.
        bezel: part of the screen's width that the black frame takes on each side.
        glow: what its white is, of the paper's.
    """

    frames: Sequence[Frame]
    pose_at: Motion = still()
    position_at: Motion = still(0, 0, 30)
    fps: float = 30.0
    width_cm: float = 14.0
    bezel: float = 0.06
    glow: float = 1.0

    def surfaces(self, time_s: float) -> list[Surface]:
        shown = self.frames[int(time_s * self.fps + 1e-6) % len(self.frames)]
        edge = round(shown.shape[1] * self.bezel)
        table = np.minimum(np.arange(256) * self.glow + 4, 255).astype(np.uint8)  # its black is not quite black
        phone = np.full((shown.shape[0] + 2 * edge, shown.shape[1] + 2 * edge, 3), 12, np.uint8)
        phone[edge : edge + shown.shape[0], edge : edge + shown.shape[1]] = table[shown]
        plane = sheet(Texture(phone, levels=2), width_cm=self.width_cm * (1 + 2 * self.bezel))
        turned = plane.points_cm @ rotation(*self.pose_at(time_s)).T + np.array(self.position_at(time_s))
        return [plane._replace(points_cm=turned)]


class Together(Scene):
    """Several at once: two people, or a person before a poster."""

    def __init__(self, *scenes: Scene) -> None:
        self.scenes = scenes

    def surfaces(self, time_s: float) -> list[Surface]:
        return [surface for scene in self.scenes for surface in scene.surfaces(time_s)]


def two_people(one: Head, other: Head, *, apart_cm: float = 22.0, distance_cm: float = 60.0) -> Scene:
    """Side by side, at the same distance."""
    places = (-apart_cm / 2, 0, distance_cm), (apart_cm / 2, 0, distance_cm)
    return Together(*(LiveHead(head, still(), still(*place)) for head, place in zip((one, other), places, strict=True)))


def before_poster(scene: Scene, poster: Frame, *, width_cm: float = 60.0, at_cm: tuple[float, float, float] = (45, -15, 180)) -> Scene:
    """The scene with a large print on the wall behind it."""
    return Together(Print(poster, still(), still(*at_cm), width_cm=width_cm), scene)


@dataclass(frozen=True, eq=False)
class Night(Scene):
    """The scene in the dark: the light goes, the noise stays."""

    scene: Scene
    light: float = 0.08

    def surfaces(self, time_s: float) -> list[Surface]:
        return self.scene.surfaces(time_s)

    def render(self, time_s: float, camera: Camera | None = None) -> Frame:
        camera = camera or Camera()
        return self.scene.render(time_s, replace(camera, exposure=camera.exposure * self.light))


@dataclass(frozen=True, eq=False)
class UpsideDown(Scene):
    """The scene as a camera sees it that is mounted upside down."""

    scene: Scene

    def surfaces(self, time_s: float) -> list[Surface]:
        return self.scene.surfaces(time_s)

    def render(self, time_s: float, camera: Camera | None = None) -> Frame:
        return np.ascontiguousarray(self.scene.render(time_s, camera)[::-1, ::-1])


@dataclass(frozen=True, eq=False)
class Mirror(Scene):
    """The scene as a camera sees it that mirrors its picture: what turns left, turns right."""

    scene: Scene

    def surfaces(self, time_s: float) -> list[Surface]:
        return self.scene.surfaces(time_s)

    def render(self, time_s: float, camera: Camera | None = None) -> Frame:
        return np.ascontiguousarray(self.scene.render(time_s, camera)[:, ::-1])


def clip(scene: Scene, seconds: float, *, fps: float = 15.0, camera: Camera | None = None) -> Iterator[tuple[Frame, float]]:
    """The frames of a scene, each with its time in seconds, from 0 on."""
    camera = camera or Camera()
    for number in range(round(seconds * fps)):
        yield scene.render(number / fps, camera), number / fps
