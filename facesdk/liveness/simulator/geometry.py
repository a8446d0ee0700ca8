"""Turns, triangles and sheets. Centimetres; x to the picture's right, y down, z away from the camera."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from facesdk.liveness.simulator.texture import Texture

Floats: TypeAlias = NDArray[np.float64]
Triangles: TypeAlias = NDArray[np.int32]


class Surface(NamedTuple):
    """What a camera sees of one thing.

    Attributes:
        points_cm: float64 (n, 3).
        texels: float64 (n, 2), where in the texture each point is, in its pixels.
        triangles: int32 (m, 3), indices of points.
        texture: the picture on it.
    """

    points_cm: Floats
    texels: Floats
    triangles: Triangles
    texture: Texture


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Floats:
    """float64 (3, 3): what turns a straight head to this pose, with the signs of facesdk.types.Pose.

    Pitch first, then yaw, then roll. Of a head turned so, the line between the cheeks gives yaw and roll back, and the
    line from forehead to chin asin(sin(pitch) cos(yaw)), as native/core/mesh.cpp measures them.
    """
    (sy, sp, sr), (cy, cp, cr) = (
        [function(math.radians(angle)) for angle in (yaw_deg, pitch_deg, roll_deg)] for function in (math.sin, math.cos)
    )
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turned: Floats = about_z @ about_y @ about_x
    return turned


def delaunay(points: Floats) -> Triangles:
    """int32 (m, 3): the Delaunay triangles of points (n, 2), each clockwise as a picture shows it (y down).

    Source: Bowyer 1981, Watson 1981. One point after the other; the circles are tried all at once.
    """
    low, size = points.min(axis=0), float(np.ptp(points, axis=0).max())
    far = low + size * np.array([[-20.0, -20.0], [40.0, -20.0], [0.5, 40.0]])
    at = np.vstack([points, far])
    n = len(points)
    triangles = np.array([[n, n + 1, n + 2]], np.int32)
    circles = _circles(at, triangles)
    for point in range(n):
        inside = ((circles[:, :2] - at[point]) ** 2).sum(axis=1) < circles[:, 2]
        edges = triangles[inside][:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        known = {(int(a), int(b)) for a, b in edges}
        border = [(a, b, point) for a, b in sorted(known) if (b, a) not in known]
        new = np.array(border, np.int32)
        triangles = np.concatenate([triangles[~inside], new])
        circles = np.concatenate([circles[~inside], _circles(at, new)])
    return np.ascontiguousarray(triangles[(triangles < n).all(axis=1)])


def _circles(at: Floats, triangles: Triangles) -> Floats:
    """(m, 3): centre and squared radius of the circle around each triangle."""
    a, b, c = (at[triangles[:, i]] for i in range(3))
    (bx, by), (cx, cy) = (b - a).T, (c - a).T
    double = 2 * (bx * cy - by * cx)
    double = np.where(np.abs(double) < 1e-12, 1e-12, double)
    bb, cc = bx * bx + by * by, cx * cx + cy * cy
    x, y = (cy * bb - by * cc) / double, (bx * cc - cx * bb) / double
    return np.stack([x + a[:, 0], y + a[:, 1], x * x + y * y], axis=1)


def sheet(texture: Texture, *, width_cm: float, bend_cm: float = math.inf, cells: int = 14) -> Surface:
    """A picture on paper, its middle at the origin, facing the camera.

    Args:
        texture: its height follows from its sides.
        width_cm: along the paper.
        bend_cm: radius of the cylinder, its axis upright, that the paper lies on; its middle is nearest to the camera.
        cells: across, and down.
    """
    across, down = np.meshgrid(np.linspace(-0.5, 0.5, cells + 1), np.linspace(-0.5, 0.5, cells + 1))
    x, y = across.ravel() * width_cm, down.ravel() * width_cm * texture.height / texture.width
    if math.isinf(bend_cm):
        points = np.stack([x, y, np.zeros_like(x)], axis=1)
    else:
        points = np.stack([bend_cm * np.sin(x / bend_cm), y, bend_cm * (1 - np.cos(x / bend_cm))], axis=1)
    parts = np.stack([across.ravel() + 0.5, down.ravel() + 0.5], axis=1)
    first = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    upper = np.stack([first, first + 1, first + cells + 1], axis=1)
    lower = np.stack([first + 1, first + cells + 2, first + cells + 1], axis=1)
    triangles = np.concatenate([upper, lower]).astype(np.int32)
    return Surface(points, parts * (texture.width - 1, texture.height - 1), triangles, texture)
