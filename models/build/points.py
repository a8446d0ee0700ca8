"""Writes calibration_points.json: the five alignment points of each portrait, found by facesdk's own detector and mesh.

Run with facesdk installed: python models/build/points.py. The build reads the file, so it does not need facesdk.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from facesdk import _core
from facesdk.engine.runtime import LITERT

HERE = Path(__file__).parent
FOLDERS = [HERE.parent.parent / folder / "portraits" for folder in ("facesdk", "tests")]
PORTRAITS = {p.name: p for folder in FOLDERS for p in folder.iterdir() if p.suffix in (".jpg", ".png")}
EYES = ((33, 133, 159, 145), (362, 263, 386, 374))
SINGLE = ((1, 4), (61,), (291,))


def main() -> None:
    """Writes the file."""
    library = _core.LiteRtLibrary(str(LITERT / "libLiteRt.so"))
    models = [(HERE.parent / name).read_bytes() for name in ("blazeface_short_range.tflite", "face_mesh.tflite")]
    detector, mesh = (_core.LiteRtNetwork(library, model, 1) for model in models)
    pipeline = _core.Pipeline(detector, mesh, [])
    points = {}
    for name, path in sorted(PORTRAITS.items()):
        frame = np.ascontiguousarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        faces = pipeline.detect(frame)
        landmarks, _, _ = pipeline.mesh(frame, faces[0][0], faces[0][1])
        five = [landmarks[list(group), :2].mean(axis=0) for group in (*EYES, *SINGLE)]
        points[name] = [[round(float(v), 2) for v in point] for point in five]
    (HERE / "calibration_points.json").write_text(json.dumps(points, indent=1) + "\n")


if __name__ == "__main__":
    main()
