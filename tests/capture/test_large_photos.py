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

    def noted(picture: object, **options: object) -> np.ndarray:
        frame = images.as_frame(picture, **options)
        shapes.append(frame.shape)
        return frame

    monkeypatch.setattr(samples, "as_frame", noted)
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


def test_small_photos_arrays_and_open_files_are_read_once_or_from_where_they_stand(
    read, engine: Engine, tmp_path: Path
) -> None:
    probe(photo("obama_2012", 1.0, size=(640, 480)), engine)
    probe(portrait("obama_2012"), engine)
    assert len(read) == 2
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"before" + photo("obama_2012", 0.25))
    with path.open("rb") as file:
        file.seek(6)
        probe(file, engine)
        assert file.tell() == 6
    assert read[2:] == [(1500, 2000, 3), (3000, 4000, 3)]
