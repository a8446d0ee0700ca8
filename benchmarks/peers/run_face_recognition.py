"""face_recognition 1.3.0 (dlib, howdy's engine) as its own examples use it: HOG detector, tolerance 0.6."""

from __future__ import annotations

from pathlib import Path

import face_recognition
import numpy as np
import runner


class FaceRecognition:
    """The encoding of the enrolled photo in a plain file: the package has no store of its own."""

    def __init__(self, state: Path) -> None:
        self._reference_file = state / "reference.npy"

    def enroll(self, photo: str) -> None:
        image = face_recognition.load_image_file(photo)
        np.save(self._reference_file, face_recognition.face_encodings(image)[0])

    def open(self) -> None:
        self._reference = np.load(self._reference_file)

    def verify(self, photo: str) -> bool:
        encodings = face_recognition.face_encodings(face_recognition.load_image_file(photo))
        return bool(encodings) and bool(face_recognition.compare_faces([self._reference], encodings[0])[0])


if __name__ == "__main__":
    args = runner.arguments()
    runner.run(FaceRecognition(args.state), args)
