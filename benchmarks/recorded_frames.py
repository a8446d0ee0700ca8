"""Frames of recorded attacks and people, for benchmarks: the videos and sequences of DATA. Names nobody."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from facesdk.images import decode_rgb
from facesdk.types import Frame


def pad_clips(archive: Path) -> Iterator[tuple[str, list[Frame]]]:
    """Kind and frames of each video."""
    import cv2

    with tarfile.open(archive) as tar, tempfile.TemporaryDirectory() as folder:
        for member in tar.getmembers():
            if not member.isfile() or Path(member.name).suffix not in (".mp4", ".mov"):
                continue
            kind = next((k for k in ("real", "fake") if k in member.name), None)
            content = tar.extractfile(member)
            if kind is None or content is None:
                continue
            target = Path(folder) / f"clip{Path(member.name).suffix}"
            target.write_bytes(content.read())
            capture, frames = cv2.VideoCapture(str(target)), []
            while len(frames) < 900 and (got := capture.read())[0]:
                frames.append(np.ascontiguousarray(got[1][:, :, ::-1]))
            yield ("clips, live" if kind == "real" else "clips, replay"), frames


def nuaa(archive: Path) -> Iterator[tuple[str, list[Frame]]]:
    """Kind and frames of each session of a person, in the order of their names, at an unknown rate."""
    with tarfile.open(archive) as tar:
        groups: dict[tuple[str, str], list[tarfile.TarInfo]] = {}
        for member in sorted((m for m in tar.getmembers() if m.isfile()), key=lambda m: m.name):
            parts = Path(member.name).parts
            if len(parts) >= 3 and member.name.endswith(".jpg"):
                groups.setdefault((parts[-3], parts[-2] + Path(member.name).stem.rsplit("_", 1)[0]), []).append(member)
        for (kind, _), members in groups.items():
            frames = []
            for member in members:
                content = tar.extractfile(member)
                if content is not None:
                    frames.append(decode_rgb(content.read()))
            yield ("sequences, live" if kind.startswith("Client") else "sequences, print"), frames
