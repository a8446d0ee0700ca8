"""The tutorials' way: MediaPipe's face detection, its box cut out, the float MobileFaceNet, cosine against 0.6."""

from __future__ import annotations

from pathlib import Path

import cv2
import mediapipe
import numpy as np
import runner
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

# Without alignment other people reach 0.5 and more; 0.6 still tells the two photos asked about apart.
COSINE_THRESHOLD = 0.6
SIDE_PX = 112


class Tutorial:
    """No alignment and no store: the features of the enrolled photo lie in a plain file."""

    def __init__(self, state: Path, model: str) -> None:
        self._reference_file = state / "reference.npy"
        self._model = model

    def enroll(self, photo: str) -> None:
        self._load()
        features = self._features(photo)
        if features is None:
            raise SystemExit(f"error: no face found in {photo}")
        np.save(self._reference_file, features)

    def open(self) -> None:
        self._load()
        self._reference = np.load(self._reference_file)

    def verify(self, photo: str) -> bool:
        features = self._features(photo)
        return features is not None and float(features @ self._reference) >= COSINE_THRESHOLD

    def _load(self) -> None:
        self._detector = mediapipe.solutions.face_detection.FaceDetection(
            model_selection=0, min_detection_confidence=0.5
        )
        self._interpreter = Interpreter(model_path=self._model)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    def _features(self, photo: str) -> NDArray[np.float32] | None:
        """Unit features of the first face, None without one."""
        rgb = cv2.cvtColor(cv2.imread(photo), cv2.COLOR_BGR2RGB)
        detections = self._detector.process(rgb).detections
        if not detections:
            return None
        height, width = rgb.shape[:2]
        box = detections[0].location_data.relative_bounding_box
        left, top = max(0, int(box.xmin * width)), max(0, int(box.ymin * height))
        right, bottom = int((box.xmin + box.width) * width), int((box.ymin + box.height) * height)
        crop = cv2.resize(rgb[top:bottom, left:right], (SIDE_PX, SIDE_PX))
        # The file's input is a pair of faces and it refuses to be resized to one.
        pair = np.stack([crop, crop]).astype(np.float32)
        self._interpreter.set_tensor(self._input["index"], (pair - 127.5) / 128)
        self._interpreter.invoke()
        features: NDArray[np.float32] = self._interpreter.get_tensor(self._output["index"])[0]
        return features / np.linalg.norm(features)


if __name__ == "__main__":
    args = runner.arguments("model")
    runner.run(Tutorial(args.state, args.model), args)
