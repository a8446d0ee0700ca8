"""Write what MediaPipe 0.10.21 sees in the portraits, for the tests to hold our detector to.

Run by any CPython 3.10 to 3.12: it makes an environment with the pinned mediapipe, then runs itself inside it.

    python tools/make_mediapipe_golden.py [--env FOLDER] [--output tests/engine/golden/mediapipe_0_10_21.json]

The photo given to MediaPipe is the decoded file, its longer side brought to 640 px by nearest neighbour: row
`floor((i + 0.5) * n_src / n_dst)` for row i, columns alike. That needs no library, so a test makes the very same
pixels; `rgb_sha256` tells it when its JPEG decoder gives other ones. A montage is some of these pictures side by
side, cut at the bottom to the lowest one and brought to 640 px once more: several faces in one frame.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT / "facesdk" / "portraits", ROOT / "tests" / "portraits")
PORTRAITS = {p.name: p for folder in FOLDERS for p in folder.iterdir() if p.suffix in (".jpg", ".png")}
LONGER_SIDE_PX = 640
MIN_SCORE = 0.5
REQUIREMENTS = ("mediapipe==0.10.21", "numpy<2", "pillow")
INSIDE_FLAG = "--inside"
MONTAGES = (("ardern_2018.jpg", "hopper.jpg"), ("ardern_2022.jpg", "sunak.jpg", "macron_2025.jpg"))


def main() -> int:
    """Exit code; makes the environment, or the golden file when already inside it."""
    parser = argparse.ArgumentParser(description="golden detections of MediaPipe 0.10.21 on the portraits")
    parser.add_argument("--env", type=Path, default=ROOT / ".cache" / "mediapipe-golden", help="virtual environment")
    parser.add_argument("--output", type=Path, default=ROOT / "tests" / "engine" / "golden" / "mediapipe_0_10_21.json")
    parser.add_argument(INSIDE_FLAG, action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        write_golden(args.output)
        return 0
    python = ensure_environment(args.env)
    command = [str(python), str(Path(__file__).resolve()), INSIDE_FLAG, "--output", str(args.output.resolve())]
    return subprocess.run(command, check=False, env={**os.environ, "GLOG_minloglevel": "2"}).returncode


def ensure_environment(folder: Path) -> Path:
    """The Python of an environment with the requirements, made where it is missing."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        raise SystemExit("error: mediapipe 0.10.21 has wheels for CPython 3.10 to 3.12; run this with one of them")
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    return python


def write_golden(output: Path) -> None:
    """Run both solutions over every portrait and write the file."""
    from importlib.metadata import version

    photos = [path for _, path in sorted(PORTRAITS.items())]
    golden: dict[str, Any] = {
        "made_by": "tools/make_mediapipe_golden.py",
        "versions": {name: version(name) for name in ("mediapipe", "numpy", "pillow", "opencv-contrib-python")},
        "detector": {"model_selection": 0, "min_detection_confidence": MIN_SCORE},
        "keypoints": ["right eye", "left eye", "nose tip", "mouth centre", "right ear", "left ear"],
        "photos": {path.name: describe(load_rgb_640(path)) for path in photos},
        "montages": {"+".join(names): describe(montage(names)) for names in MONTAGES},
    }
    for name, record in {**golden["photos"], **golden["montages"]}.items():
        scores = ", ".join(f"{face['score']:.3f}" for face in record["faces"])
        size, mesh = f"{record['width']}x{record['height']}", "mesh" if record["mesh"] else "no mesh"
        print(f"{name}: {size}, {len(record['faces'])} face(s) {scores}, {mesh}", file=sys.stderr)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(to_json(golden), encoding="utf-8")
    print(output)


def load_rgb_640(path: Path) -> NDArray[np.uint8]:
    """The photo as uint8 RGB (H, W, 3), upright, its longer side brought to 640 px."""
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        return to_640(np.asarray(ImageOps.exif_transpose(image).convert("RGB")))


def montage(names: tuple[str, ...]) -> NDArray[np.uint8]:
    """The named portraits side by side, each and the whole brought to 640 px."""
    import numpy as np

    parts = [load_rgb_640(PORTRAITS[name]) for name in names]
    height = min(part.shape[0] for part in parts)
    return to_640(np.concatenate([part[:height] for part in parts], axis=1))


def to_640(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture by nearest neighbour with its longer side 640 px, also where that enlarges it."""
    import numpy as np

    height, width = rgb.shape[:2]
    scale = LONGER_SIDE_PX / max(height, width)
    rows = source_indices(height, max(1, round(height * scale)))
    columns = source_indices(width, max(1, round(width * scale)))
    return np.ascontiguousarray(rgb[rows][:, columns])


def source_indices(n_source: int, n_target: int) -> NDArray[np.int64]:
    """Index floor((i + 0.5) * n_source / n_target) for each i, in integers so that no rounding differs."""
    import numpy as np

    return (2 * np.arange(n_target, dtype=np.int64) + 1) * n_source // (2 * n_target)


def describe(rgb: NDArray[np.uint8]) -> dict[str, Any]:
    """Everything the golden file says of one photo. Each photo gets fresh graphs: no state from the one before."""
    from mediapipe.python.solutions import face_detection, face_mesh

    height, width = rgb.shape[:2]
    with face_detection.FaceDetection(model_selection=0, min_detection_confidence=MIN_SCORE) as detector:
        detections = detector.process(rgb).detections or []
    with face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1, refine_landmarks=False) as mesher:
        meshes = mesher.process(rgb).multi_face_landmarks
    mesh = None
    if meshes:
        mesh = [[round(p.x * width, 3), round(p.y * height, 3)] for p in meshes[0].landmark]
    return {
        "width": width,
        "height": height,
        "rgb_sha256": hashlib.sha256(rgb.tobytes()).hexdigest(),
        "faces": [face_record(detection, width, height) for detection in detections],
        "mesh": mesh,
    }


def face_record(detection: Any, width: int, height: int) -> dict[str, Any]:
    """One detection in pixels, neither rounded nor clipped to the photo."""
    location = detection.location_data
    box = location.relative_bounding_box
    left, top = box.xmin * width, box.ymin * height
    return {
        "score": detection.score[0],
        "box_px": [left, top, left + box.width * width, top + box.height * height],
        "keypoints_px": [[point.x * width, point.y * height] for point in location.relative_keypoints],
    }


def to_json(golden: dict[str, Any]) -> str:
    """Indented JSON with each mesh on one line: 468 points would otherwise fill 1,900."""
    meshes: list[str] = []
    marked = dict(golden)
    for group in ("photos", "montages"):
        marked[group] = {}
        for name, record in golden[group].items():
            marked[group][name] = {**record, "mesh": f"@{len(meshes)}"}
            meshes.append(json.dumps(record["mesh"], separators=(",", ":")))
    text = json.dumps(marked, indent=1)
    for index, mesh in enumerate(meshes):
        text = text.replace(f'"@{index}"', mesh)
    return text + "\n"


if __name__ == "__main__":
    sys.exit(main())
