"""Write the photos that every contestant is asked about: 640x480 JPEG cut from two portraits.

    make_probes.py PORTRAITS FOLDER

Run by the Python of a contestant's environment, all of which have Pillow.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

SIZE_PX = (640, 480)
QUALITY = 90
# File and the top of the 4:3 strip over its full width, chosen so that head and shoulders are in it.
STRIPS = {"mated": ("obama_2012.jpg", 0.02), "nonmated": ("sunak.jpg", 0.13)}


def main() -> None:
    """Cut, resize and save both."""
    portraits, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for name, (file, top) in STRIPS.items():
        with Image.open(portraits / file) as photo:
            rgb = photo.convert("RGB")
        first_row = round(top * rgb.height)
        strip = rgb.crop((0, first_row, rgb.width, first_row + rgb.width * SIZE_PX[1] // SIZE_PX[0]))
        strip.resize(SIZE_PX, Image.Resampling.LANCZOS).save(folder / f"{name}.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()
