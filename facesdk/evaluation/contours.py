"""Paths through the face mesh's points: the oval, eyes, brows and lips."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


# Paths through the face mesh's points. Source: the numbering of MediaPipe's canonical face model, whose mesh this is.
CONTOURS: dict[str, tuple[int, ...]] = {
    "oval": (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
             148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10),
    "right eye": (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246, 33),
    "left eye": (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466, 263),
    "right brow": (46, 53, 52, 65, 55, 107, 66, 105, 63, 70, 46),
    "left brow": (276, 283, 282, 295, 285, 336, 296, 334, 293, 300, 276),
    "lips": (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61),
    "mouth": (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78),
}  # fmt: skip
