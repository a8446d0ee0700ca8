"""What the window shows, drawn on a surface of pygame's."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from facesdk.types import Guidance
from facesdk.views.view import sentence

if TYPE_CHECKING:
    from facesdk.camera.frame import CapturedFrame
    from facesdk.types import Frame, Progress

BACKGROUND, WORDS, SHADE = (16, 20, 24), (255, 255, 255), (0, 0, 0, 150)
RING, RING_BACK, DOT, DOT_EDGE = (38, 198, 160), (255, 255, 255), (255, 193, 7), (20, 20, 20)
LETTERS, DOT_SIZE, RING_WIDTH = 1 / 15, 1 / 28, 1 / 90  # of the window's height
ROUND_FACE = 0.75  # the ring's radius over the longer side of the face's box
CHUNK_DEG = 4  # the ring is a line with a corner at each so many degrees


def draw(pygame: Any, screen: Any, progress: Progress, frame: CapturedFrame | None) -> None:
    """Draw all of it: picture, ring, dot, sentence. The dot stands where the mirrored picture is, or would be."""
    screen.fill(BACKGROUND)
    width, height = screen.get_size()
    shape = (height, width) if frame is None else frame.image.shape[:2]
    rect = fitted((shape[1], shape[0]), (width, height))
    if frame is not None:
        picture = pygame.transform.flip(surface_of(pygame, frame.image).convert(screen), True, False)
        screen.blit(pygame.transform.scale(picture, rect[2:]), rect[:2])
        if progress.box_px is not None:
            _ring(pygame, screen, rect, [float(v) for v in progress.box_px], shape[1], progress.fraction)
    prompt = progress.prompt
    if prompt is not None and progress.guidance in (Guidance.NONE, Guidance.KEEP_STILL, Guidance.COME_BACK):
        at = rect[0] + prompt.x * rect[2], rect[1] + prompt.y * rect[3]
        radius = height * DOT_SIZE
        pygame.draw.circle(screen, DOT_EDGE, at, radius * 1.15)
        pygame.draw.circle(screen, DOT, at, radius)
    _words(pygame, screen, sentence(progress))


def fitted(size: tuple[int, int], window: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a picture of this size stands in the window, whole and in its proportions: left, top, width, height."""
    scale = min(window[0] / size[0], window[1] / size[1])
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return (window[0] - width) // 2, (window[1] - height) // 2, width, height


def surface_of(pygame: Any, image: Frame) -> Any:
    """A picture, uint8 (H, W, 3) RGB or (H, W) gray, as a surface."""
    import numpy as np

    rgb = np.ascontiguousarray(image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))
    return pygame.image.frombuffer(rgb, (rgb.shape[1], rgb.shape[0]), "RGB")


def _ring(
    pygame: Any, screen: Any, rect: tuple[int, int, int, int], box_px: list[float], width_px: int, fraction: float
) -> None:
    """A ring around the face, mirrored as the picture is, that fills clockwise from the top."""
    scale = rect[2] / width_px
    x0, y0, x1, y1 = box_px
    if not all(map(math.isfinite, box_px)):
        return
    middle = rect[0] + (width_px - (x0 + x1) / 2) * scale, rect[1] + (y0 + y1) / 2 * scale
    radius, wide = ROUND_FACE * max(x1 - x0, y1 - y0) * scale, max(2, round(screen.get_height() * RING_WIDTH))
    pygame.draw.circle(screen, RING_BACK, middle, radius, 2)
    steps = round(360 * min(max(fraction, 0.0), 1.0) / CHUNK_DEG)
    if steps:
        angles = [math.radians(CHUNK_DEG * step) for step in range(steps + 1)]
        corners = [(middle[0] + radius * math.sin(a), middle[1] - radius * math.cos(a)) for a in angles]
        pygame.draw.lines(screen, RING, False, corners, wide)


def _words(pygame: Any, screen: Any, words: str) -> None:
    """The sentence at the bottom, on a shade, in lines that fit."""
    if not words:
        return
    width, height = screen.get_size()
    text = _rendered(pygame, words, max(16, round(height * LETTERS)), round(width * 0.94))
    margin = text.get_height() // 8
    shade = pygame.Surface((width, text.get_height() + 2 * margin), pygame.SRCALPHA)
    shade.fill(SHADE)
    screen.blit(shade, (0, height - shade.get_height()))
    screen.blit(text, ((width - text.get_width()) // 2, height - shade.get_height() + margin))


@lru_cache(maxsize=8)
def _rendered(pygame: Any, words: str, size: int, width: int) -> Any:
    """The sentence as a surface, broken into lines of at most this width, centred."""
    font = pygame.font.Font(None, size)
    font.align = pygame.FONT_CENTER
    return font.render(words, True, WORDS, None, width)
