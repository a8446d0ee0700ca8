"""A large JPEG file is read at half its size where that is enough for the face, and whole where it is not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import portrait
from PIL import Image

from facesdk import Engine, images
from facesdk.capture import samples
from facesdk.capture.quality import QualityLimits
from facesdk.evaluation import score


def photo(name: str, share: float, *, size: tuple[int, int] = (4000, 3000)) -> bytes:
    """A JPEG of 12 MP with the portrait in its middle, as high as this share of it."""
    face = Image.fromarray(portrait(name))
    high = round(size[1] * share)
    wall = Image.new("RGB", size, (110, 120, 105))
    face = face.resize((round(face.width * high / face.height), high), Image.Resampling.BICUBIC)
    wall.paste(face, ((size[0] - face.width) // 2, (size[1] - high) // 2))
    file = io.BytesIO()
    wall.save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of what was read, in order."""
    shapes: list[tuple[int, ...]] = []

    def whole(picture: object, **options: object) -> np.ndarray:
        frame = images.as_frame(picture, **options)
        shapes.append(frame.shape)
        return frame

    def small(picture: object, **options: object) -> tuple[np.ndarray, bool]:
        frame, smaller = images.first_look(picture, **options)
        shapes.append(frame.shape)
        return frame, smaller

    monkeypatch.setattr(samples, "as_frame", whole)
    monkeypatch.setattr(samples, "first_look", small)
    return shapes


def probe(picture: object, engine: Engine) -> list[object]:
    found, refusal = samples.usable_samples([picture], engine, QualityLimits())
    assert found, refusal
    return found


def test_a_large_face_is_read_at_half_the_size(read, engine: Engine) -> None:
    (sample,) = probe(photo("obama_2012", 1.0), engine)
    assert read == [(1500, 2000, 3)]
    assert sample.quality.eye_distance_px >= samples.NEAR_PX
    whole, _ = engine.observe(images.decode_rgb(photo("obama_2012", 1.0)))
    assert score(engine.embed(sample), engine.embed(whole)) > 0.95


def test_a_small_face_is_read_whole(read, engine: Engine) -> None:
    (sample,) = probe(photo("obama_2012", 0.25), engine)
    assert read == [(1500, 2000, 3), (3000, 4000, 3)]
    assert (
        sample.quality.eye_distance_px
        == engine.observe(images.decode_rgb(photo("obama_2012", 0.25)))[0].quality.eye_distance_px
    )


def test_nobody_is_looked_for_in_the_whole_picture_too(read, engine: Engine) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4000, 3000), (90, 90, 90)).save(file, "JPEG")
    found, refusal = samples.usable_samples([file.getvalue()], engine, QualityLimits())
    assert not found
    assert refusal.reason == "no face was found"
    assert read == [(1500, 2000, 3), (3000, 4000, 3)]


def test_what_cannot_be_read_smaller_is_read_once(read, engine: Engine, tmp_path: Path) -> None:
    small = photo("obama_2012", 1.0, size=(640, 480))
    middle = photo("obama_2012", 0.5, size=(2600, 1900))  # a half of it would be less than is wanted
    picture = tmp_path / "photo.png"
    Image.open(io.BytesIO(middle)).save(picture, compress_level=0)
    with (tmp_path / "photo.jpg").open("w+b") as file:
        file.write(b"before" + photo("obama_2012", 0.25))
        for one in (small, portrait("obama_2012"), middle, picture, Image.open(io.BytesIO(small)), file):
            read.clear()
            if one is file:
                file.seek(6)
            probe(one, engine)
            assert len(read) == 1
        assert file.tell() == 6


def test_a_path_is_read_as_its_bytes(read, engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo("obama_2012", 0.25))
    probe(path, engine)
    probe(str(path), engine)
    assert read == [(1500, 2000, 3), (3000, 4000, 3)] * 2


def test_a_limit_above_what_half_the_size_has_is_held_to_the_whole_picture(read, engine: Engine) -> None:
    limits = QualityLimits(min_eye_distance_px=250)
    found, refusal = samples.usable_samples([photo("obama_2012", 1.0)], engine, limits)
    assert read == [(1500, 2000, 3), (3000, 4000, 3)]
    assert found, refusal


def test_what_is_refused_at_half_the_size_is_looked_at_whole(read, engine: Engine) -> None:
    found, refusal = samples.usable_samples([photo("obama_2012", 1.0)], engine, QualityLimits(min_sharpness=1e4))
    assert read == [(1500, 2000, 3), (3000, 4000, 3)]
    assert not found
    assert "blurred" in refusal.reason
