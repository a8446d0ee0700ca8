"""A head made of one portrait: its face mesh in centimetres, with the portrait on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from facesdk.errors import InputError
from facesdk.liveness.simulator.geometry import Floats, Surface, Triangles, delaunay, rotation
from facesdk.liveness.simulator.texture import Texture

if TYPE_CHECKING:
    from facesdk.engine import Engine
    from facesdk.types import Frame

EYES_CM = 6.3  # between the pupils of grown-ups, in the mean. Source: Dodgson 2004, 63.4 mm
NECK_CM = np.array([0.0, 5.0, 9.0])  # what a head turns about, from the middle between the eyes
# (scale about the middle of the face, deeper by so many eye distances)
RINGS = ((1.15, 0.25), (1.32, 0.7), (1.5, 1.3))
# MediaPipe's FACEMESH_FACE_OVAL in order.
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
# Of each eye from corner to corner: the fold over the eye, the edges of both lids, and two rows below the eye.
FOLD = ((33, 247, 30, 29, 27, 28, 56, 190, 133), (263, 467, 260, 259, 257, 258, 286, 414, 362))
UPPER = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
LOWER = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))
BELOW = ((33, 25, 110, 24, 23, 22, 26, 112, 133), (263, 255, 339, 254, 253, 252, 256, 341, 362))
CHEEK = ((33, 31, 228, 229, 230, 231, 232, 233, 133), (263, 261, 448, 449, 450, 451, 452, 453, 362))
_EYES = ((33, 133, 159, 145), (362, 263, 386, 374))  # as native/core/mesh.cpp has their middles
# A closed lid: how high the lashes below its edge are, in heights of the eye; how far before the mesh it lies; and how
# far its skin is taken towards the rim of the eye, short of the white that the mesh's points may lie on.
_LASHES, _LID_CM, _TO_RIM = 0.2, 0.15, 0.6


@dataclass(frozen=True, eq=False)
class Head:
    """A head that looks straight at the camera, the middle between its eyes at the origin.

    It is the front of a head: behind the ears there is nothing, the lips do not move, hair and neck are the portrait's
    own, laid over three rings around the face, and with them goes some of the portrait's background.

    Attributes:
        points_cm: float64 (576, 3), 468 of the mesh and three rings of 36.
        texels: float64 (576, 2), pixels of the portrait.
        triangles: int32 (m, 3).
        texture: the portrait.
        portrait_cm: how wide a print of the whole portrait is that shows this face in its own size.
    """

    points_cm: Floats
    texels: Floats
    triangles: Triangles
    texture: Texture = field(repr=False)
    portrait_cm: float

    @classmethod
    def of(cls, picture: Frame, engine: Engine) -> Head:
        """The head of the largest face.

        Args:
            picture: uint8 (H, W, 3), RGB; a portrait, as straight as there is.
            engine: finds the face and its mesh.

        Raises:
            InputError: no face was found.
        """
        faces = engine.detect(picture, landmarks=True)
        if not faces or faces[0].landmarks_px is None:
            raise InputError("found no face in the portrait: give a picture of one face, seen from the front")
        mesh, pose = faces[0].landmarks_px.astype(np.float64), faces[0].pose
        eyes = np.array([mesh[list(eye)].mean(axis=0) for eye in _EYES])
        middle, px_a_cm = eyes.mean(axis=0), float(np.linalg.norm(eyes[1] - eyes[0])) / EYES_CM
        pitch = math.asin(math.sin(math.radians(pose.pitch_deg)) / max(math.cos(math.radians(pose.yaw_deg)), 0.5))
        turn = rotation(pose.yaw_deg, math.degrees(pitch), pose.roll_deg)
        face = (mesh - middle) @ turn / px_a_cm
        centre = (face[list(OVAL)].min(axis=0) + face[list(OVAL)].max(axis=0)) / 2
        rings = [
            np.stack([*(centre[i] + (oval[:, i] - centre[i]) * scale for i in (0, 1)), oval[:, 2] + depth * EYES_CM], 1)
            for oval in (face[list(OVAL)],)
            for scale, depth in RINGS
        ]
        points = np.concatenate([face, *rings])
        # Drawn from afar in the portrait's own pose, the head is the portrait.
        texels = (points @ turn.T)[:, :2] * px_a_cm + middle[:2]
        return cls(points, texels, delaunay(points[:, :2]), Texture(picture), picture.shape[1] / px_a_cm)

    def turned(self, pose: tuple[float, float, float], at_cm: tuple[float, float, float], closed: float = 0) -> Surface:
        """The head turned about its neck and put somewhere.

        Args:
            pose: yaw, pitch and roll in degrees.
            at_cm: where the middle between the eyes is when it looks straight; z is the distance from the camera.
            closed: 0 as in the portrait to 1, the lids closed: the upper one slides over the eye.
        """
        points, texels, triangles = self.points_cm, self.texels, self.triangles
        for eye in (0, 1) if closed > 0 else ():
            lid, skin, patch = self._lid(eye, min(closed, 1.0))
            triangles = np.concatenate([triangles, patch + np.int32(len(points))])
            points, texels = np.concatenate([points, lid]), np.concatenate([texels, skin])
        placed = (points - NECK_CM) @ rotation(*pose).T + NECK_CM + np.asarray(at_cm)
        return Surface(placed, texels, triangles, self.texture)

    def _lid(self, eye: int, closed: float) -> tuple[Floats, Floats, Triangles]:
        """An upper lid from the fold to where it ends now, with the skin below the eye on it, lashes downwards."""
        fold, upper, lower = (self.points_cm[list(rows[eye])] for rows in (FOLD, UPPER, LOWER))
        edge = upper + (lower - upper) * closed
        lashes = edge + (lower - upper) * _LASHES
        lid = np.concatenate([fold, (fold + edge) / 2, edge, lashes]) + np.array([0, 0, -_LID_CM])
        cheek, below, rim, dark = (self.texels[list(rows[eye])] for rows in (CHEEK, BELOW, LOWER, UPPER))
        skin = np.concatenate([cheek, below, below + (rim - below) * _TO_RIM, dark])
        columns = len(fold)
        first = np.array([row * columns + column for row in range(3) for column in range(columns - 1)], np.int32)
        halves = [(first, first + 1, first + columns), (first + 1, first + columns + 1, first + columns)]
        return lid, skin, np.concatenate([np.stack(half, axis=1) for half in halves])
