"""Pictures of a portrait that is turned: as the head that its mesh says it is, or as a sheet, flat or bent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facesdk import Engine
from facesdk.types import Float32Array, Frame, Pose

Floats = NDArray[np.float64]
WIDTH, HEIGHT = 640, 480


@dataclass(frozen=True, eq=False)
class Scene:
    """A portrait in a 640 x 480 frame, its landmarks, and the depth of what it is painted on, per pixel."""

    frame: Frame
    landmarks: Float32Array
    depth: Floats


def placed(engine: Engine, portrait: Frame, *, face_px: float = 180.0) -> tuple[Frame, Float32Array]:
    """The portrait scaled to a face so many pixels wide, in the middle of a 640 x 480 frame, and its landmarks."""
    face = engine.detect(portrait, landmarks=True)[0]
    assert face.landmarks_px is not None
    points = face.landmarks_px.copy()
    left, right = points[:, 0].min(), points[:, 0].max()
    scale = face_px / float(right - left)
    middle = (points[:, :2].min(axis=0) + points[:, :2].max(axis=0)) / 2
    shift = np.array([WIDTH / 2, HEIGHT / 2]) - scale * middle
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    flag = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    frame = cv2.warpAffine(portrait, matrix, (WIDTH, HEIGHT), flags=flag, borderMode=cv2.BORDER_REPLICATE)
    points[:, :2] = points[:, :2] * scale + shift
    points[:, 2] *= scale
    return frame, points


def head(frame: Frame, landmarks: Float32Array) -> Scene:
    """Painted on the mesh: weighted means of its depths, the nearer points the heavier."""
    step = 4
    ys, xs = np.mgrid[0:HEIGHT:step, 0:WIDTH:step]
    mesh = landmarks.astype(float)
    squares = (xs[..., None] - mesh[:, 0]) ** 2 + (ys[..., None] - mesh[:, 1]) ** 2
    weights = 1 / (squares + (0.03 * np.ptp(mesh[:, 0])) ** 2) ** 2
    coarse = (weights * (mesh[:, 2] - mesh[:, 2].mean())).sum(axis=-1) / weights.sum(axis=-1)
    matrix = np.array([[step, 0, 0], [0, step, 0]], float)
    depth = cv2.warpAffine(coarse, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Scene(frame, landmarks, depth)


def flat(frame: Frame, landmarks: Float32Array) -> Scene:
    """Painted on a board."""
    return Scene(frame, landmarks, np.zeros((HEIGHT, WIDTH)))


def bent(frame: Frame, landmarks: Float32Array, *, radius_eyes: float = 1.9) -> Scene:
    """Painted on an upright cylinder of this radius in eye distances (12 cm of 6.3 cm by default), bulging."""
    radius = radius_eyes * eye_distance(landmarks)
    x = np.clip(np.arange(WIDTH) - landmarks[:, 0].mean(), -0.97 * radius, 0.97 * radius)
    return Scene(frame, landmarks, np.tile(radius - np.sqrt(radius**2 - x**2), (HEIGHT, 1)))


def eye_distance(landmarks: Float32Array) -> float:
    """Pixels between the eyes' middles."""
    right, left = (landmarks[list(eye), :2].mean(axis=0) for eye in ((33, 133, 159, 145), (362, 263, 386, 374)))
    return float(np.linalg.norm(left - right))


def rotation(yaw_deg: float, pitch_deg: float) -> Floats:
    """Nose to the picture's right above 0, nose down above 0; depth grows away from the camera."""
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    about_y = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    return about_x @ about_y


def turned(scene: Scene, yaw_deg: float, pitch_deg: float = 0, *, believed: float = 1) -> tuple[Frame, Float32Array]:
    """The scene turned about the middle of its face, seen from far away, and the landmarks of a mesh that turned by
    `believed` of it: in the picture where the points are, with the depths of a head."""
    turn = rotation(yaw_deg, pitch_deg)
    middle = scene.landmarks.astype(float).mean(axis=0)
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    there = np.stack([xs - middle[0], ys - middle[1]], axis=-1)
    back = np.linalg.inv(turn[:2, :2])
    at = there @ back.T
    for _ in range(12):
        depth = cv2.remap(
            scene.depth.astype(np.float32), (at[..., 0] + middle[0]).astype(np.float32),
            (at[..., 1] + middle[1]).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        at = (there - depth[..., None] * turn[:2, 2]) @ back.T
    source = (at + middle[:2]).astype(np.float32)
    frame = cv2.remap(scene.frame, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    spots = np.round(scene.landmarks[:, :2]).astype(int).clip(0, [WIDTH - 1, HEIGHT - 1])
    mesh = scene.landmarks.astype(float) - middle
    on_it = np.column_stack([mesh[:, :2], scene.depth[spots[:, 1], spots[:, 0]]])
    landmarks = on_it @ turn.T
    landmarks[:, 2] = (mesh @ rotation(believed * yaw_deg, believed * pitch_deg).T)[:, 2]
    if believed == 1:
        landmarks = mesh @ turn.T
    return np.ascontiguousarray(frame), (landmarks + middle).astype(np.float32)


def sequence(scene: Scene, yaws_deg: Iterable[float], *, believed: float = 1) -> list[tuple[Frame, Float32Array, Pose]]:
    """A frame, landmarks and pose for each yaw."""
    made = []
    for yaw in yaws_deg:
        frame, landmarks = turned(scene, yaw, believed=believed)
        made.append((frame, landmarks, Pose(believed * yaw, 0.0, 0.0)))
    return made
