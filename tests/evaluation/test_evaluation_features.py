"""Pictures to records: the product's own features and refusals, unreadable pictures, the cache, workers that die."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from evaluation_tools import photo_folder

from facesdk import Engine
from facesdk.capture.quality import QualityLimits, assess
from facesdk.evaluation import features as features_module
from facesdk.evaluation import vector
from facesdk.evaluation.features import QUALITY, made_by, records_of, refusals
from facesdk.evaluation.photos import Photos, read_photos
from facesdk.evaluation.workers import LocalWorkers, WorkersLostError
from facesdk.images import load_rgb


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    return read_photos(photo_folder(tmp_path_factory.mktemp("photos")))


def records(photos: Photos, **options):
    given = {"embedder": "sface", "workers": LocalWorkers(1), **options}
    return records_of(photos, range(len(photos.names)), **given)


def test_records_are_what_the_product_measures(photos: Photos, sface: Engine) -> None:
    found = records(photos)
    assert found.places.tolist() == list(range(len(photos.names)))
    for place, row in zip(found.places, found.rows, strict=True):
        sample, faces = sface.observe(load_rgb(photos.path(place)))
        assert row["faces"] == len(faces)
        assert sample is not None
        assert np.array_equal(row["vector"], vector(sface.embed(sample)))
        assert dict(zip(QUALITY, row["quality"], strict=True)) == vars(sample.quality)


@pytest.mark.parametrize("enrolling", [False, True])
def test_refusals_are_those_of_the_product(photos: Photos, sface: Engine, enrolling: bool) -> None:
    found, expected = records(photos), []
    for place in found.places:
        sample, faces = sface.observe(load_rgb(photos.path(place)))
        refusal = assess(sample, len(faces), QualityLimits(), enrolling=enrolling)
        expected.append("" if refusal is None else refusal.reason.split(":")[0])
    assert refusals(found.rows, enrolling=enrolling) == expected
    assert len(set(expected)) > enrolling


def test_a_picture_without_a_face_and_one_that_is_none(tmp_path: Path) -> None:
    from PIL import Image

    folder = photo_folder(tmp_path)
    Image.new("RGB", (200, 200), "gray").save(folder / "biden" / "wall.jpg")
    (folder / "biden" / "text.jpg").write_text("no picture")
    (folder / "biden" / "empty.png").write_bytes(b"")
    (folder / "biden" / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(folder / "biden" / "pipe.jpg")
    photos = read_photos(folder)
    found = records(photos, cache=tmp_path / "cache")
    wrong = {photos.names[place]: why for place, why in found.unreadable.items()}
    assert sorted(wrong) == ["biden/empty.png", "biden/gone.jpg", "biden/pipe.jpg", "biden/text.jpg"]
    assert "not a readable JPEG or PNG picture" in wrong["biden/text.jpg"]
    assert wrong["biden/gone.jpg"] == "cannot be read (No such file or directory)"
    assert wrong["biden/pipe.jpg"] == "cannot be read (not a regular file)"
    wall = found.rows[found.places.tolist().index(photos.names.index("biden/wall.jpg"))]
    assert not wall["sampled"]
    assert refusals(found.rows[found.rows["key"] == wall["key"]], enrolling=False) == ["no face was found"]
    again = records(photos, cache=tmp_path / "cache")
    assert np.array_equal(again.rows, found.rows)
    assert again.unreadable == found.unreadable


def test_the_cache_is_asked_by_the_bytes_of_the_picture(photos: Photos, tmp_path: Path, monkeypatch) -> None:
    first = records(photos, cache=tmp_path)
    seen: list[str] = []
    real = features_module.extract
    monkeypatch.setattr(features_module, "extract", lambda embedder, paths: seen.extend(paths) or real(embedder, paths))
    moved = read_photos(photo_folder(tmp_path / "moved"))
    second = records(moved, cache=tmp_path)
    assert seen == []
    assert np.array_equal(first.rows, second.rows)
    changed = moved.path(3)
    changed.write_bytes(moved.path(4).read_bytes())
    third = records(moved, cache=tmp_path)
    assert seen == []
    assert np.array_equal(third.rows[3], third.rows[4])
    other = records(moved, cache=tmp_path, embedder="mobilefacenet")
    assert len(seen) == len(moved.names) - 1
    assert other.rows["vector"].shape[1] != first.rows["vector"].shape[1]


def test_what_made_the_records_names_them() -> None:
    assert len({made_by(name) for name in ("joint", "sface", "mobilefacenet")}) == 3


def test_another_limit_of_quality_makes_other_records(monkeypatch: pytest.MonkeyPatch) -> None:
    before = made_by("sface")
    monkeypatch.setattr(features_module.quality, "MIN_PRESENCE", 0.6)
    assert made_by("sface") != before


def test_processes_give_the_same_bytes(photos: Photos) -> None:
    progress: list[tuple[int, int]] = []
    one = records(photos)
    two = records(photos, workers=LocalWorkers(2), progress=lambda *done: progress.append(done))
    assert one.rows.tobytes() == two.rows.tobytes()
    assert progress[0] == (0, len(photos.names))
    assert progress[-1] == (len(photos.names), len(photos.names))


def test_an_interrupted_run_keeps_what_was_computed(photos: Photos, tmp_path: Path) -> None:
    def stop(done: int, of: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        records(photos, cache=tmp_path, progress=stop)
    counted: list[tuple[int, int]] = []
    records(photos, cache=tmp_path, progress=lambda *done: counted.append(done))
    assert counted[0][0] == features_module._JOB


def _die(common: None, job: int) -> int:
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def _same(common: int, job: int) -> int:
    return common + job


def test_results_come_in_the_order_of_the_jobs() -> None:
    for workers, threads in ((LocalWorkers(1), False), (LocalWorkers(3), True), (LocalWorkers(2), False)):
        assert list(workers.map(_same, 10, range(40), threads=threads)) == list(range(10, 50))


def test_a_worker_that_was_killed_is_said_so() -> None:
    with pytest.raises(WorkersLostError, match="ended from outside") as caught:
        list(LocalWorkers(2).map(_die, None, range(8)))
    assert "--workers 1" in caught.value.hint
