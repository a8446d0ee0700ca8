"""The example loop, on a real video file made from the portraits, and on a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PORTRAITS, portrait
from PIL import Image, ImageOps

from facesdk import FaceVerifier
from facesdk.camera import open_source
from facesdk.errors import CameraError, InputError

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "unlock_demo.py"


def scenes() -> list[tuple[str, int]]:
    """What stands before the camera, and for how many frames at 15 a second: nobody, a stranger, the owner, nobody."""
    return [("", 6), ("sunak", 9), ("obama_2012", 12), ("", 75), ("obama_2009", 9)]


def picture(name: str, frame: int) -> Image.Image:
    if not name:
        return Image.new("RGB", (640, 480), (90, 90, 90))
    image = ImageOps.pad(Image.fromarray(portrait(name)), (640, 480), color=(90, 90, 90))
    return image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, frame % 5, 0, 1, -(frame % 3)), fillcolor=(90, 90, 90)
    )


@pytest.fixture
def device(tmp_path: Path, engine) -> list[str]:
    secret = tmp_path / "secret"
    secret.write_text("passphrase\n")
    secret.chmod(0o600)
    verifier = FaceVerifier(tmp_path / "vault", passphrase="passphrase", engine=engine)
    verifier.enroll("owner", [portrait("obama_2005"), portrait("obama_2009")], allow_few_samples=True)
    return ["--vault", str(tmp_path / "vault"), "--passphrase-file", str(secret)]


def run(device: list[str], source: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE), *device, "--source", str(source), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL)


def test_video_unlocks_locks_and_unlocks_again(device: list[str], tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV (extra camera) is not installed")
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 15, (640, 480))
    assert writer.isOpened()
    number = 0
    for name, count in scenes():
        for _ in range(count):
            writer.write(cv2.cvtColor(np.asarray(picture(name, number)), cv2.COLOR_RGB2BGR))
            number += 1
    writer.release()
    done = run(device, clip, "--unlock", f"touch {tmp_path}/unlocked", "--lock", f"touch {tmp_path}/locked")
    assert done.returncode == 0, done.stderr
    events = [line for line in done.stdout.splitlines() if line in ("unlock", "lock")]
    assert events == ["unlock", "lock", "unlock", "lock"]
    assert (tmp_path / "unlocked").exists()
    assert (tmp_path / "locked").exists()


def test_folder_of_strangers_never_unlocks_and_asks_for_the_passphrase(device: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(30):
        picture("sunak", number).save(folder / f"{number:03d}.png")
    done = run(device, folder, "--unlock", f"touch {tmp_path}/unlocked")
    assert not (tmp_path / "unlocked").exists()
    assert "the passphrase is needed" in done.stdout


def test_a_source_that_breaks_leaves_the_device_locked(device: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(5):
        picture("obama_2012", number).save(folder / f"{number:03d}.png")
    (folder / "900.png").write_bytes(b"broken")
    done = run(device, folder, "--lock", f"touch {tmp_path}/locked")
    assert done.stdout.split() == ["unlock", "lock"]
    assert done.returncode != 0
    assert (tmp_path / "locked").exists()


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 80


def test_sources_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no JPEG or PNG"):
        open_source(str(tmp_path))
    pytest.importorskip("cv2", reason="OpenCV (extra camera) is not installed")
    (tmp_path / "broken.avi").write_bytes(b"not a video")
    for name in (str(tmp_path / "missing.avi"), str(tmp_path / "broken.avi"), "97"):
        with pytest.raises(CameraError):
            open_source(name)


def test_folder_source_gives_frames_in_order() -> None:
    with open_source(str(PORTRAITS)) as frames:
        found = list(frames)
    assert len(found) == 11
    assert [f.time_s for f in found] == sorted(f.time_s for f in found)
    assert all(f.image.dtype == np.uint8 and "array" not in repr(f) for f in found)
