"""Recordings of living people and of pictures of them: DATA/nuaa-dev.tar and DATA/pad-clips-dev.tar."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facesdk.types import Frame

STEP = 3  # frames of a clip


@dataclass(frozen=True)
class Recording:
    """Frames of one person before one camera; `live` or a picture of them."""

    kind: str
    person: str
    live: bool
    frames: list[Frame]


def nuaa(data: Path) -> Iterator[Recording]:
    """The sequences, in the order of their names."""
    found: dict[tuple[bool, str, str], list[tuple[int, Frame]]] = {}
    with tarfile.open(data / "nuaa-dev.tar") as tar:
        for member in tar:
            if not member.name.endswith(".jpg"):
                continue
            kind, person, name = member.name.split("/")[1:]
            sequence, number = name.removesuffix(".jpg").rsplit("_", 1)
            content = tar.extractfile(member)
            frame = np.asarray(Image.open(io.BytesIO(content.read() if content else b"")).convert("RGB"))
            found.setdefault((kind == "ClientRaw", person, sequence), []).append((int(number), frame))
    for (live, person, _), frames in sorted(found.items(), key=lambda entry: entry[0]):
        frames.sort(key=lambda entry: entry[0])
        yield Recording("webcam", f"person {int(person)}", live, [frame for _, frame in frames])


def clips(data: Path) -> Iterator[Recording]:
    """The clips of people, each of them one sequence."""
    import cv2

    with tempfile.TemporaryDirectory() as folder, tarfile.open(data / "pad-clips-dev.tar") as tar:
        members = sorted((m for m in tar if m.name.startswith("pad_videos/")), key=lambda m: m.name)
        names = sorted({Path(m.name).stem.rsplit("_", 1)[0] for m in members})
        for member in members:
            tar.extract(member, folder, filter="data")
            name, kind = Path(member.name).stem.rsplit("_", 1)
            capture, frames = cv2.VideoCapture(str(Path(folder) / member.name)), []
            while True:
                read, frame = capture.read()
                if not read:
                    break
                frames.append(np.ascontiguousarray(frame[..., ::-1]))
            yield Recording("clip", f"person {5 + names.index(name)}", kind == "real", frames[::STEP])
