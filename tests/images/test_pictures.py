"""What people hand over as a picture or a frame: taken where that is safe, else refused with the call to use."""

from __future__ import annotations

import array as arrays
import io
import itertools
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from conftest import PORTRAITS, portrait
from picture_tools import encoded
from PIL import Image

from facesdk import Engine
from facesdk.camera import CapturedFrame
from facesdk.capture.quality import QualityLimits
from facesdk.capture.samples import enrollment_probe, pictures, usable_samples
from facesdk.errors import InputError
from facesdk.evaluation import score, vector
from facesdk.images import as_frame, decode_rgb, load_rgb

FILE = PORTRAITS / "obama_2012.jpg"
FRAME = load_rgb(FILE)
GRAY = np.ascontiguousarray(FRAME[..., 1])


class PathLike:
    """A path of another kind."""

    def __fspath__(self) -> str:
        return str(FILE)


@pytest.mark.parametrize(
    "given",
    [
        str(FILE), FILE, np.str_(FILE), PathLike(), FILE.read_bytes(), bytearray(FILE.read_bytes()),
        memoryview(FILE.read_bytes()), np.frombuffer(FILE.read_bytes(), np.uint8).data, io.BytesIO(FILE.read_bytes()),
        memoryview(FRAME), Image.fromarray(FRAME), Image.open(FILE), FRAME, FRAME.view(np.recarray),
    ],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_every_kind_of_picture_gives_the_same_frame(given: object) -> None:
    for _ in range(2):  # a file that was read can be given again
        frame = as_frame(given)  # type: ignore[arg-type]
        assert type(frame) is np.ndarray
        assert frame.flags.c_contiguous
        assert np.array_equal(frame, FRAME)
    assert len(pictures(given, at_most=1)) == 1  # type: ignore[arg-type]


def test_a_file_that_is_open_is_read_from_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"header" + FILE.read_bytes())
    with open(tmp_path / "picture", "rb") as file:
        file.seek(6)
        assert np.array_equal(as_frame(file), FRAME)
        assert file.tell() == 6
        file.seek(0, os.SEEK_END)
        with pytest.raises(InputError, match=r"seek\(0\)"):
            as_frame(file)


def test_a_frame_is_taken_as_it_is_and_a_view_is_copied_once() -> None:
    assert as_frame(FRAME) is FRAME
    assert as_frame(GRAY) is GRAY
    views = {
        "mirrored": FRAME[:, ::-1], "upside down": FRAME[::-1], "cropped": FRAME[9:200, 7:150],
        "strided": FRAME[::2, ::3],
        "Fortran": np.asfortranarray(FRAME), "turned": FRAME.transpose(1, 0, 2), "colours reversed": FRAME[:, :, ::-1],
        "one channel": FRAME[..., 0], "of four": np.dstack([FRAME, GRAY])[..., :3],
    }  # fmt: skip
    for view in views.values():
        frame = as_frame(view)
        assert frame.flags.c_contiguous
        assert not np.shares_memory(frame, FRAME)
        assert np.array_equal(frame, view)


def test_bgr_is_of_arrays_and_gray_has_no_order() -> None:
    bgr = np.ascontiguousarray(FRAME[:, :, ::-1])
    assert np.array_equal(as_frame(bgr, colors="bgr"), FRAME)
    assert as_frame(bgr, colors="bgr").flags.c_contiguous
    assert np.array_equal(as_frame(FRAME[:, :, ::-1], colors="bgr"), FRAME)
    assert as_frame(GRAY, colors="bgr") is GRAY
    for known in (FILE, FILE.read_bytes(), Image.open(FILE)):
        assert np.array_equal(as_frame(known, colors="bgr"), FRAME)
    with pytest.raises(InputError, match="rgb, bgr"):
        as_frame(FRAME, colors="BGR")


def test_pillow_s_pictures_of_every_mode_are_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.open(io.BytesIO(encoded(Image.fromarray(FRAME), "JPEG", exif=exif)))
    assert as_frame(turned).shape == (FRAME.shape[1], FRAME.shape[0], 3)
    assert np.array_equal(as_frame(turned), decode_rgb(encoded(Image.fromarray(FRAME), "JPEG", exif=exif)))
    clear = Image.fromarray(FRAME).convert("RGBA")
    clear.putalpha(Image.fromarray(GRAY))
    for picture in (clear, clear.convert("LA"), clear.quantize(30), clear.convert("L"), clear.convert("1")):
        assert np.array_equal(as_frame(picture), decode_rgb(encoded(picture)))


REFUSED = [
    (None, "a path, the bytes"), (3, "a path, the bytes"), (FRAME.tolist(), r"numpy\.asarray"), ({}, "a path"),
    (b"/a/path.jpg", r"os\.fsdecode"), (b"", r"os\.fsdecode"), (bytes(FRAME[:64, :64]), "frombuffer"),
    (io.StringIO("x"), '"rb"'), (arrays.array("B", bytes(100)), "a path"), ("", "a path"), ("no\0path", "not a path"),
    ("none.jpg", "cannot be read"), (Path("."), "cannot be read"), (io.BytesIO(), r"seek\(0\)"),
    (FRAME.astype(np.float32) / 255, r"\(x \* 255\)\.astype\(np\.uint8\)"),
    (FRAME.astype(float), r"x\.astype\(np\.uint8\)"),
    (FRAME.astype(np.uint16), "x >> 8"), (FRAME > 90, r"\* 255"), (FRAME.astype(object), r"numpy\.asarray"),
    (np.dstack([FRAME, GRAY]), r"x\[\.\.\., :3\]"), (FRAME.transpose(2, 0, 1), r"transpose\(1, 2, 0\)"),
    (np.dstack([FRAME, GRAY]).transpose(2, 0, 1), r"x\[:3\]\.transpose"), (GRAY[..., None], r"x\[\.\.\., 0\]"),
    (GRAY[None], r"x\[0\]"), (FRAME[None], r"list\(x\)"), (np.ma.masked_array(FRAME, FRAME > 9), r"x\.filled"),
    (np.frombuffer(FILE.read_bytes(), np.uint8), "decode_rgb"), (np.array([str(FILE)] * 2), r"list\(x\)"),
    (np.uint8(3), "numpy array"), (np.zeros((0, 0, 3), np.uint8), "64 to 8192"), (FRAME[:63], "64 to 8192"),
    (np.zeros((64, 8193, 3), np.uint8), "64 to 8192"), (Image.new("RGB", (63, 90)), "64 to 8192"),
    (Image.new("F", (90, 90)), "mode F"), (FRAME.astype(np.complex64), "uint8"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "words"), REFUSED, ids=lambda value: value if isinstance(value, str) else "given")
def test_everything_else_is_refused_with_the_call_to_use(given: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_frame(given)  # type: ignore[arg-type]


class Exported:
    """An array of another library."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return FRAME


def test_what_cannot_be_read_at_once_is_refused(tmp_path: Path) -> None:
    read, write = os.pipe()
    with open(read, "rb") as pipe, open(write, "wb") as other, socket.socket(socket.AF_UNIX) as unconnected:
        for file in (pipe, other, unconnected.makefile("rb"), Exported()):
            with pytest.raises(InputError, match=r"x\.read\(\)|numpy\.asarray\(x\)"):
                as_frame(file)  # type: ignore[arg-type]
    closed = open(FILE, "rb")  # noqa: SIM115
    closed.close()
    with pytest.raises(InputError, match="cannot be read"):
        as_frame(closed)
    broken = tmp_path / "half.jpg"
    broken.write_bytes(FILE.read_bytes()[: FILE.stat().st_size // 2])
    with Image.open(broken) as half, pytest.raises(InputError, match="Pillow cannot read it"):
        as_frame(half)


def test_one_or_several_and_no_more_than_may_be() -> None:
    several = [FRAME, FILE, FILE.read_bytes(), Image.fromarray(FRAME)]
    for given in (several, tuple(several), iter(several), (one for one in several)):
        assert len(pictures(given, at_most=4)) == 4
    taken = itertools.count()
    with pytest.raises(InputError, match="1 to 32 pictures were expected, not more"):
        pictures((FRAME for _ in taken), at_most=32)
    assert next(taken) == 33
    for wrong, words in (
        ([], "not 0"), ([FRAME] * 5, "not 5"), (iter([]), "not none"), ({"a": FRAME}, r"list\(x\.values\(\)\)"),
        (None, "a path"), (7, "a path"), (FRAME[None], r"list\(x\)"), ([FRAME, None], "picture 2: expected a picture"),
        ([FRAME, 3.0], "picture 2"),
        ([FRAME.tolist()], r"numpy\.asarray"), ([CapturedFrame(FRAME, 0.0, "camera 0")], r"x\.image"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            pictures(wrong, at_most=4)  # type: ignore[arg-type]


def test_samples_and_features_are_the_same_of_every_kind(sface: Engine) -> None:
    frame = portrait("obama_2012")
    kinds = [frame, FILE, Image.fromarray(frame), encoded(Image.fromarray(frame))]
    samples, _ = usable_samples(kinds, sface, QualityLimits())
    assert len(samples) == 4
    assert all(np.array_equal(sample.crop, samples[0].crop) for sample in samples)
    bgr = [portrait(name)[:, :, ::-1] for name in ("obama_2005", "obama_2009")]
    reversed_twice = enrollment_probe([np.ascontiguousarray(one) for one in bgr], sface, QualityLimits(), colors="bgr")
    for features, one in zip(reversed_twice._features, bgr, strict=True):
        plain = sface.features(np.ascontiguousarray(one[:, :, ::-1]))
        assert plain is not None
        assert score(features, plain) == pytest.approx(1.0)


def test_an_engine_takes_views_and_says_what_else_to_do(sface: Engine) -> None:
    whole = sface.features(FRAME)
    assert whole is not None
    mirrored = np.ascontiguousarray(FRAME[:, ::-1])[:, ::-1]
    for frame in (np.asfortranarray(FRAME), mirrored):
        features = sface.features(frame)
        assert features is not None
        assert np.array_equal(vector(features), vector(whole))
        assert len(sface.detect(frame, landmarks=True)) == 1
    for wrong, words in (
        (str(FILE), r"images\.load_rgb"), (FILE, r"images\.load_rgb"), (Image.fromarray(FRAME), r"images\.load_rgb"),
        (FILE.read_bytes(), r"images\.decode_rgb"), (FRAME[None], r"list\(x\)"), (None, "not None"),
    ):  # fmt: skip
        for call in (sface.detect, sface.features, sface.sample, sface.observe):
            with pytest.raises(InputError, match=words):
                call(wrong)  # type: ignore[operator]
    face = sface.detect(FRAME)[0]
    assert sface.features(FRAME, face) is not None
    with pytest.raises(InputError, match=r"Engine\.detect"):
        sface.features(FRAME, "face")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"Engine\.features"):
        sface.embed(FRAME)  # type: ignore[arg-type]


def test_types_are_checked_by_mypy(tmp_path: Path) -> None:
    """An int is no picture; what is one, alone or several, passes."""
    pytest.importorskip("mypy")
    program = """
        import io
        from collections.abc import Iterator
        from pathlib import Path
        import numpy as np
        from numpy.typing import NDArray
        from PIL import Image
        from facesdk.capture.samples import pictures
        from facesdk.images import as_frame

        def good(frame: NDArray[np.uint8], many: Iterator[NDArray[np.uint8]]) -> None:
            with open("a", "rb") as file:
                for one in (as_frame("a"), as_frame(Path("a")), as_frame(b"a"), as_frame(io.BytesIO()), as_frame(file)):
                    as_frame(one)
            as_frame(Image.new("RGB", (9, 9)))
            pictures([frame, frame], at_most=3)
            pictures([Path("a")], at_most=3)
            pictures(many, at_most=3)
            pictures("a", at_most=3)

        def bad() -> None:
            as_frame(3)
            as_frame(None)
            pictures(3, at_most=3)
            pictures([3], at_most=3)
    """
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    environment = {**os.environ, "MYPYPATH": str(PORTRAITS.parent.parent)}
    options = ["--strict", "--follow-imports=silent", "--cache-dir", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "mypy", *options, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, env=environment)
    lines = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    last = path.read_text().splitlines().index("def bad() -> None:") + 1
    assert lines == set(range(last + 1, last + 5)), done.stdout


def test_a_closed_picture_and_a_path_that_is_none_are_refused() -> None:
    class Wrong:
        def __fspath__(self) -> int:
            return 3

    closed = Image.new("RGB", (100, 100))
    closed.close()
    for wrong in (closed, Wrong()):
        with pytest.raises(InputError):
            as_frame(pictures(wrong, at_most=1)[0])


@pytest.mark.parametrize("how", ["whole", "rows missing", "rows too many", "no checksum", "another checksum"])
def test_a_png_is_all_its_rows(how: str) -> None:
    """Pillow shows what is missing as black."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = {"rows missing": 100, "rows too many": 129}.get(how, 128)
    data = zlib.compress((b"\0" + b"\xc8" * (3 * 128)) * rows)
    if how == "no checksum":
        data = data[:-4]
    elif how == "another checksum":
        data = data[:-1] + bytes([data[-1] ^ 1])
    size = struct.pack(">IIBBBBB", 128, 128, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    if how == "whole":
        assert (decode_rgb(png) == 200).all()
    else:
        with pytest.raises(InputError, match="not a readable"):
            decode_rgb(png)
