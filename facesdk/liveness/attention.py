"""Attention: whether both eyes are open, and whether they look straight ahead. Pure rules; every NaN is a no."""

from __future__ import annotations

from facesdk.engine.eyes import Eyes

# benchmarks/attention.py measures what all three refuse.
MIN_OPENNESS = 0.07
SHARE_OF_USUAL = 0.5
MAX_OPENNESS = 1.0  # no eye is as high as it is wide
# An eyeball of 12 mm radius behind an opening 30 mm wide moves its iris by 0.17 widths when it turns by 25 degrees.
MAX_ASIDE = 0.14


def eyes_open(eyes: Eyes, usual: float | None = None) -> bool:
    """Whether both eyes are open.

    It promises no more than that a clearly closed eye is refused. Eyes that are nearly closed, and closed ones that
    are blurred or behind glasses, can pass where `usual` is not known. A small `usual` never lowers the limit: whoever
    sleeps through a session has one.

    Args:
        eyes: of one frame.
        usual: the person's own median over the session of the lesser openness of both eyes, where it is known.

    Returns:
        False also for NaN, in eyes and in usual.
    """
    least = MIN_OPENNESS
    if usual is not None:
        if not 0.0 <= usual <= MAX_OPENNESS:
            return False
        least = max(least, SHARE_OF_USUAL * usual)
    return all(least <= openness <= MAX_OPENNESS for openness in (eyes.right_openness, eyes.left_openness))


def eyes_straight(eyes: Eyes) -> bool:
    """Whether the eyes look neither to the left nor to the right, of a head that is not turned.

    The mean of both eyes: each alone stands a little towards the nose or away from it. A look up or down moves the lids
    with the iris, and is not told.

    Args:
        eyes: of one frame, the head within 8 degrees of straight ahead.

    Returns:
        False also for NaN.
    """
    return abs(eyes.right_gaze[0] + eyes.left_gaze[0]) / 2 <= MAX_ASIDE
