"""The example loop, on a real video file made from the portraits, and on a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PORTRAITS, portrait
from PIL import Image, ImageOps

from facesdk import Engine, FaceVerifier
from facesdk.camera import open_source
from facesdk.errors import CameraError, InputError

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "unlock_demo.py"


def scenes() -> list[tuple[str, int]]:
    """What stands before the camera, and for how many frames at 15 a second: nobody, a stranger, the owner, nobody."""
    return [("", 6), ("sunak", 12), ("obama_2012", 12), ("", 60), ("obama_2009", 12)]


def picture(name: str, frame: int) -> Image.Image:
    if not name:
        return Image.new("RGB", (640, 480), (90, 90, 90))
    image = ImageOps.pad(Image.fromarray(portrait(name)), (640, 480), color=(90, 90, 90))
    return image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, frame % 5, 0, 1, -(frame % 3)), fillcolor=(90, 90, 90)
    )


@pytest.fixture
def device(tmp_path: Path, engine: Engine) -> list[str]:
    secret = tmp_path / "secret"
    secret.write_text("passphrase\n")
    secret.chmod(0o600)
    verifier = FaceVerifier(tmp_path / "vault", passphrase="passphrase", engine=engine)
    verifier.enroll("owner", [portrait("obama_2005"), portrait("obama_2009")], allow_few_samples=True)
    return ["--vault", str(tmp_path / "vault"), "--passphrase-file", str(secret)]


def run(device: list[str], source: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE), *device, "--source", str(source), "--liveness", "NONE", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL)


def kinds(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What happened, in order."""
    return [line.split()[0] for line in done.stdout.splitlines()]


def folder_of(tmp_path: Path, *names: str) -> Path:
    """A recording at 15 pictures a second."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, name in enumerate(names):
        picture(name, number).save(folder / f"{number:03d}.png", compress_level=0)
    return folder


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
    log = tmp_path / "log"
    done = run(device, clip, "--unlock", f"echo unlock >>{log}", "--lock", f"echo lock >>{log}")
    assert done.returncode == 0, done.stderr
    assert kinds(done) == ["arrived", "refused", "left", "arrived", "matched", "left", "arrived", "matched"]
    assert log.read_text().split() == ["lock", "lock", "unlock", "lock", "unlock", "lock"]


def test_a_recording_never_passes_the_challenge(device: list[str], tmp_path: Path) -> None:
    folder = folder_of(tmp_path, *["obama_2012"] * 45)
    done = run(device, folder, "--unlock", f"touch {tmp_path}/unlocked", "--liveness", "RGB_CHALLENGE")
    assert done.returncode == 0, done.stderr
    assert "matched" not in kinds(done)
    assert not (tmp_path / "unlocked").exists()


def test_strangers_never_unlock(device: list[str], tmp_path: Path) -> None:
    done = run(device, folder_of(tmp_path, *["sunak"] * 30), "--unlock", f"touch {tmp_path}/unlocked")
    assert kinds(done) == ["arrived", "refused"]
    assert not (tmp_path / "unlocked").exists()


def test_nobody_is_asked_for_the_passphrase_where_there_is_no_terminal(device: list[str], tmp_path: Path) -> None:
    folder = folder_of(tmp_path, *["obama_2012"] * 15, *[""] * 60, *["obama_2012"] * 15)
    lock = f"{sys.executable} -m facesdk lock --vault {tmp_path}/vault >/dev/null"
    done = run(device, folder, "--unlock", lock)
    assert done.returncode == 0, done.stderr
    shut = ["left", "passphrase_required"]  # no match outlives its key: the lock ends it while the owner stands there
    assert kinds(done) == ["arrived", "matched", *shut, "left", "arrived", "passphrase_required"]


def test_a_source_that_breaks_leaves_the_device_locked(device: list[str], tmp_path: Path) -> None:
    folder = folder_of(tmp_path, *["obama_2012"] * 15)
    (folder / "900.png").write_bytes(b"broken")
    log = tmp_path / "log"
    done = run(device, folder, "--unlock", f"echo unlock >>{log}", "--lock", f"echo lock >>{log}")
    assert kinds(done) == ["arrived", "matched"]
    assert done.returncode != 0
    assert log.read_text().split() == ["lock", "unlock", "lock"]


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
