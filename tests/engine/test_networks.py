"""Manifest and model files: what is shipped is what the manifest says, and nothing else is run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from facesdk.capture.quality import QualityLimits
from facesdk.engine.networks import EmbedderEntry, load_manifest, load_model, models_folder
from facesdk.engine.operating_points import BUCKETS, OperatingPoint
from facesdk.errors import InputError, ModelIntegrityError
from facesdk.evaluation import threshold
from facesdk.policy import Policy

TARGETS = {1e-3, 1e-4, 2e-5, 1e-5}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    shutil.copytree(models_folder(), folder, ignore=shutil.ignore_patterns("build", "LICENSES"))
    return folder


def test_shipped_files_are_the_manifest_s() -> None:
    manifest = load_manifest()
    optional = {"blazeface_full_range", "iris_landmark"}
    assert set(manifest.models) == {"blazeface_short_range", "face_mesh", "sface", "mobilefacenet"} | optional
    for entry in manifest.models.values():
        assert len(load_model(entry.name)) == entry.size
        assert entry.licence
        assert entry.origin
        assert entry.outputs
    for name in ("sface", "mobilefacenet"):
        entry = manifest.models[name]
        assert entry.input["dtype"] == entry.outputs[0]["dtype"] == "int8"


def test_no_template_depends_on_the_optional_models() -> None:
    manifest = load_manifest()
    optional = {manifest.models[name].sha256 for name in ("blazeface_full_range", "iris_landmark")}
    for embedder in manifest.embedders:
        assert not optional & set(manifest.model_ids(embedder))


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "missing", "empty", "folder"])
def test_damaged_models_are_refused(copy: Path, damage: str) -> None:
    manifest = load_manifest(copy)
    before = load_model("face_mesh", manifest)
    untouched = bytes(before)
    path = copy / "face_mesh.tflite"
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[1000] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "longer":
        path.write_bytes(data + b"x")
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
    with pytest.raises(ModelIntegrityError, match="face_mesh"):
        load_model("face_mesh", manifest)
    assert bytes(before) == untouched


@pytest.mark.parametrize("text", ["", "not toml [", "format = 2", "format = 1\n[models.x]\nfile = 'x'"])
def test_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(ModelIntegrityError):
        load_manifest(tmp_path)
    with pytest.raises(ModelIntegrityError):
        load_manifest(tmp_path / "nowhere")


def cells(entry: EmbedderEntry, target: float) -> list[OperatingPoint]:
    """The points of one target for each number of samples and frames, row by row."""
    return [entry.point(target, samples=k, frames=m) for k in BUCKETS for m in BUCKETS]


def test_operating_points_hold_what_they_say() -> None:
    for embedder in load_manifest().embedders.values():
        assert set(embedder.targets) == TARGETS, embedder.name
        for target in TARGETS:
            for point in cells(embedder, target):
                assert point.offered
                assert point.fmr <= target
                assert point.fmr <= point.fmr_bound <= 1.25 * target * 1.05  # two digits, rounded up
                assert 0 < point.threshold < 1
                assert point.group


def test_higher_targets_never_need_a_higher_threshold() -> None:
    for embedder in load_manifest().embedders.values():
        by_target = [[p.threshold for p in cells(embedder, target)] for target in sorted(TARGETS)]
        assert (np.diff(by_target, axis=0) <= 0).all()


def test_a_point_is_for_its_number_of_samples_and_frames_and_for_more() -> None:
    entry = load_manifest().embedder("sface")
    for count, bucket in ((1, 1), (2, 2), (4, 4), (6, 6), (7, 7), (8, 7), (32, 7)):
        assert entry.point(2e-5, samples=count, frames=1).samples == bucket
        assert entry.point(2e-5, samples=1, frames=count).frames == bucket
        assert entry.point(2e-5, samples=count, frames=count) == entry.point(2e-5, samples=bucket, frames=bucket)
    for wrong in (0, -1, 1.0, True, None):
        with pytest.raises(InputError, match="counted from 1"):
            entry.point(2e-5, samples=wrong, frames=1)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="counted from 1"):
            entry.point(2e-5, samples=1, frames=wrong)  # type: ignore[arg-type]


def test_operating_points_of_other_models_are_not_used(copy: Path) -> None:
    assert load_manifest(copy).embedder("sface").targets
    text = (copy / "manifest.toml").read_text()
    sface = load_manifest().models["sface"].sha256
    (copy / "manifest.toml").write_text(text.replace(f'sha256 = "{sface}"', f'sha256 = "{"0" * 64}"'))
    load_manifest.cache_clear()
    changed = load_manifest(copy)
    assert changed.embedder("sface").targets == ()
    assert changed.embedder("joint").targets == ()
    assert len(changed.embedder("mobilefacenet").targets) == 4
    with pytest.raises(InputError, match="was not measured at FMR 2e-05"):
        changed.embedder("sface").point(2e-5, samples=3, frames=3)


def test_points_with_rows_missing_are_no_manifest(copy: Path) -> None:
    text = (copy / "manifest.toml").read_text()
    (copy / "manifest.toml").write_text(re.sub(r'\nthresholds = """\n.*\n', '\nthresholds = """\n', text, count=1))
    load_manifest.cache_clear()
    with pytest.raises(ModelIntegrityError, match="thresholds of"):
        load_manifest(copy)


def test_what_the_data_cannot_support_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copy / "manifest.toml"
    head, _, rest = path.read_text().partition("[[operating_points.sface]]")
    path.write_text(
        head
        + "[[operating_points.sface]]"
        + re.sub(r'thresholds = """\n[0-9.]+', 'thresholds = """\ninf', rest, count=1)
    )
    load_manifest.cache_clear()
    changed = load_manifest(copy)
    monkeypatch.setattr("facesdk.policy.load_manifest", lambda: changed)
    monkeypatch.setattr("facesdk.evaluation.load_manifest", lambda: changed)
    (target,) = {t for t in TARGETS if not changed.embedder("sface").point(t, samples=1, frames=1).offered}
    with pytest.raises(InputError, match="no threshold is known to hold"):
        Policy(target_fmr=target).operating_point("sface", samples=1, frames=1)
    with pytest.raises(InputError, match="no threshold is known to hold"):
        threshold("sface", target, 1, 1)
    assert (
        threshold("sface", target, 2, 1)
        == Policy(target_fmr=target).operating_point("sface", samples=2, frames=1).threshold
    )


def with_edgetpu_points(
    folder: Path, by: dict[float, float], *, skip: float = 0.0, id: str = "c" * 64
) -> EmbedderEntry:
    """SFace in a manifest where it has a compiled file, with the processor's points, moved, as the Edge TPU's."""
    path, lines = folder / "manifest.toml", []
    for points in load_manifest().embedder("sface").processor_points:
        values = {**vars(points), "models": [points.models[0], id[:16]]}
        values["thresholds"] = [[t + by.get(points.target_fmr, 0.0) for t in row] for row in points.thresholds]
        if points.target_fmr != skip:
            lines += ["\n[[operating_points.sface_edgetpu]]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())]
    twin = f'edgetpu = {{ file = "sface_edgetpu.tflite", size = 1, sha256 = "{"c" * 64}" }}'
    text = path.read_text().replace("[models.sface]\n", f"[models.sface]\n{twin}\n")
    path.write_text(text + "\n".join(lines) + "\n")
    load_manifest.cache_clear()
    return load_manifest(folder).embedder("sface")


def test_the_higher_threshold_is_in_use(copy: Path) -> None:
    by = {1e-3: 0.004, 1e-4: 0.0, 2e-5: 1e-5, 1e-5: -0.004}
    shipped = load_manifest().embedder("sface")
    entry = with_edgetpu_points(copy, by)
    assert entry.processor_points == shipped.processor_points
    for target in TARGETS:
        raised = [p.threshold for p in cells(entry, target)]
        assert raised == [p.threshold + max(0.0, by[target]) for p in cells(shipped, target)]


@pytest.mark.parametrize(
    "options", [{"id": "d" * 64}, {"skip": 1e-5}], ids=["another compiled file", "a target missing"]
)
def test_points_that_do_not_hold_raise_nothing(copy: Path, options: dict) -> None:
    entry = with_edgetpu_points(copy, dict.fromkeys(TARGETS, 0.004), **options)
    assert entry.edgetpu_points == ()
    assert [cells(entry, t) for t in sorted(TARGETS)] == [
        cells(load_manifest().embedder("sface"), t) for t in sorted(TARGETS)
    ]


def test_policy_takes_measured_targets_only() -> None:
    for target in TARGETS:
        assert Policy(target_fmr=target).operating_point("joint", samples=3, frames=1).target_fmr == target
    for wrong in (0.0, 1e-6, 0.5, float("nan"), -1, "2e-5", None):
        with pytest.raises(InputError):
            Policy(target_fmr=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"min_eye_distance_px": 0}, {"max_yaw_deg": 91}, {"min_brightness": -1},
                                    {"max_overexposed": 2}, {"max_sample_similarity": float("nan")},
                                    {"min_sharpness": "20"}])  # fmt: skip
def test_policy_checks_its_numbers(change: dict) -> None:
    with pytest.raises(InputError):
        Policy(quality=QualityLimits(**change))


def test_unknown_embedder_names_those_there_are() -> None:
    with pytest.raises(InputError, match="joint, mobilefacenet, sface"):
        load_manifest().embedder("arcface")


def test_the_copy_is_private_memory_that_can_be_given_back() -> None:
    """Pages of a shared mapping would stay allocated after they were given back, in no process's own count."""
    model = load_model("mobilefacenet")
    address = np.frombuffer(model, np.uint8).ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        area, flags, *_ = line.split()
        begin, end = (int(number, 16) for number in area.split("-"))
        if begin <= address < end:
            assert flags == "rw-p"
            break
    else:
        pytest.fail("the copy is in no mapping")
