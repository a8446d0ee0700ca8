"""The non-mated pairs that look most alike side by side, where label errors show at once. It holds photos."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from facesdk.errors import InputError
from facesdk.images import load_rgb

_SIDE, _LINE, _ACROSS, _MOST = 160, 34, 3, 24


def sheet(result: dict[str, Any], folder: Path) -> bytes:
    """A JPEG of the top pairs, the most alike first. folder: that the pictures' names are relative to."""
    from PIL import Image, ImageDraw

    pairs = result["top_non_mated"][:_MOST]
    rows = max(1, -(-len(pairs) // _ACROSS))
    page = Image.new("RGB", (_ACROSS * (2 * _SIDE + 12), rows * (_SIDE + _LINE)), "white")
    draw = ImageDraw.Draw(page)
    for number, pair in enumerate(pairs):
        x, y = number % _ACROSS * (2 * _SIDE + 12), number // _ACROSS * (_SIDE + _LINE)
        for side, name in enumerate((pair["a"], pair["b"])):
            try:
                picture = Image.fromarray(load_rgb(folder / name))
            except InputError as error:
                draw.text((x + side * _SIDE, y), f"gone: {error}"[:24], fill="red")
                continue
            picture.thumbnail((_SIDE, _SIDE))
            page.paste(picture, (x + side * _SIDE, y))
        names = " / ".join(pair["people"]).encode("ascii", "replace").decode()
        draw.text((x, y + _SIDE + 2), f"{pair['score']:.4f}\n{names[:48]}", fill="black")
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
