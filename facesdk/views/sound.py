"""The tone of a window: made here, played by SDL."""

from __future__ import annotations

import array
import math
from typing import Any

from facesdk.log import happened

RATE_HZ, TONE_HZ, LASTS_S, LOUDNESS = 22_050, 660.0, 0.18, 0.3


def tone(pygame: Any) -> Any:
    """What plays the tone; None where there is no sound device, which ends nothing."""
    try:
        pygame.mixer.init(RATE_HZ, -16, 1, 512, allowedchanges=0)
        return pygame.mixer.Sound(buffer=samples())
    except pygame.error as error:
        happened("no sound: %s", error)
        return None


def samples() -> bytes:
    """The tone, 16 bits a sample, one channel: a sine that begins and ends softly, so that it does not click."""
    count = round(RATE_HZ * LASTS_S)
    loud = (LOUDNESS * 32767 * math.sin(math.pi * n / count) for n in range(count))
    wave = (round(height * math.sin(math.tau * TONE_HZ * n / RATE_HZ)) for n, height in enumerate(loud))
    return array.array("h", wave).tobytes()
