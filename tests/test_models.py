"""Manifest and model files: what is shipped is what the manifest says, and nothing else is run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facesdk.errors import InputError, ModelIntegrityError
from facesdk.models import EmbedderEntry, load_manifest, load_model, models_folder
from facesdk.policy import Policy

TARGETS = {1e-3, 1e-4, 2e-5, 1e-5}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    shutil.copytree(models_folder(), folder, ignore=shutil.ignore_patterns("build", "LICENSES"))
    return folder


def test_shipped_files_are_the_manifest_s() -> None:
    manifest = load_manifest()
    assert set(manifest.models) == {"blazeface_short_range", "face_mesh", "sface", "mobilefacenet"}
    for entry in manifest.models.values():
        assert len(load_model(entry.name)) == entry.size
        assert entry.licence
        assert entry.origin
        assert entry.outputs
    for name in ("sface", "mobilefacenet"):
        entry = manifest.models[name]
        assert entry.input["dtype"] == entry.outputs[0]["dtype"] == "int8"


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


def test_operating_points_hold_what_they_say() -> None:
    for embedder in load_manifest().embedders.values():
        points = embedder.operating_points
        assert {p.target_fmr for p in points} == TARGETS, embedder.name
        assert all(p.fmr <= p.target_fmr and p.fmr < p.fmr_bound for p in points)
        assert all(p.comparisons > 1_000_000 and p.group in ("women", "men") for p in points)
        ordered = sorted(points, key=lambda p: p.target_fmr)
        assert [p.threshold for p in ordered] == sorted((p.threshold for p in points), reverse=True)
        assert all(0 < p.threshold < 1 for p in points)


def test_operating_points_of_other_models_are_not_used(copy: Path) -> None:
    assert load_manifest(copy).embedder("sface").operating_points
    text = (copy / "manifest.toml").read_text()
    sface = load_manifest().models["sface"].sha256
    (copy / "manifest.toml").write_text(text.replace(f'sha256 = "{sface}"', f'sha256 = "{"0" * 64}"'))
    load_manifest.cache_clear()
    changed = load_manifest(copy)
    assert changed.embedder("sface").operating_points == ()
    assert changed.embedder("joint").operating_points == ()
    assert len(changed.embedder("mobilefacenet").operating_points) == 4


def with_edgetpu_points(folder: Path, change: Callable[[dict], None], *, skip: float = 0.0) -> EmbedderEntry:
    """SFace in a manifest where it has a compiled file, with the processor's points, changed, as the Edge TPU's."""
    path, compiled, lines = folder / "manifest.toml", "c" * 64, []
    for point in load_manifest().embedder("sface").processor_points:
        values = {**vars(point), "models": [point.models[0], compiled[:16]]}
        change(values)
        if point.target_fmr != skip:
            lines += ["\n[[operating_points.sface_edgetpu]]", *(f"{k} = {v!r}" for k, v in values.items())]
    twin = f'edgetpu = {{ file = "sface_edgetpu.tflite", size = 1, sha256 = "{compiled}" }}'
    text = path.read_text().replace("[models.sface]\n", f"[models.sface]\n{twin}\n")
    path.write_text(text + "\n".join(lines) + "\n")
    return load_manifest(folder).embedder("sface")


def test_the_higher_threshold_is_in_use(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_manifest().embedder("sface").operating_points
    moved = {1e-3: 0.004, 1e-4: 0.0, 2e-5: 1e-5, 1e-5: -0.004}
    entry = with_edgetpu_points(copy, lambda p: p.update(threshold=p["threshold"] + moved[p["target_fmr"]], fnmr=0.5))
    assert entry.processor_points == shipped
    assert {p.target_fmr: p.threshold for p in entry.operating_points} == {
        p.target_fmr: p.threshold + max(0.0, moved[p.target_fmr]) for p in shipped
    }
    # The figures of a raised one are the accelerator's, and it says so; the others are the processor's as they were.
    raised = {p.target_fmr for p in entry.operating_points if p.models[1] == "c" * 16 and p.fnmr == 0.5}
    assert raised == {1e-3, 2e-5}
    assert set(entry.operating_points) - set(entry.edgetpu_points) == {p for p in shipped if moved[p.target_fmr] <= 0}
    assert load_manifest(copy).embedder("joint").operating_points == load_manifest().embedder("joint").operating_points
    for target in sorted(TARGETS):
        before = Policy(target_fmr=target).operating_point("sface").threshold
        with monkeypatch.context() as patch:
            patch.setattr("facesdk.policy.load_manifest", lambda: load_manifest(copy))
            after = Policy(target_fmr=target).operating_point("sface").threshold
        assert after == before + max(0.0, moved[target])


def higher(point: dict, **other: object) -> None:
    point.update(threshold=point["threshold"] + 0.004, **other)


@pytest.mark.parametrize(
    ("change", "skip"),
    [
        (lambda p: higher(p, models=[p["models"][0], "d" * 16]), 0.0),
        (lambda p: higher(p, fmr=1.01 * p["target_fmr"] if p["target_fmr"] == 1e-5 else p["fmr"]), 0.0),
        (higher, 1e-5),
    ],
    ids=["another compiled file", "a target not held", "a target missing"],
)
def test_points_that_do_not_hold_raise_nothing(copy: Path, change: Callable[[dict], None], skip: float) -> None:
    entry = with_edgetpu_points(copy, change, skip=skip)
    assert entry.edgetpu_points == ()
    assert entry.operating_points == entry.processor_points == load_manifest().embedder("sface").operating_points


def test_policy_takes_measured_targets_only() -> None:
    for target in TARGETS:
        assert Policy(target_fmr=target).operating_point("joint").target_fmr == target
    for wrong in (0.0, 1e-6, 0.5, float("nan"), -1, "2e-5", None):
        with pytest.raises(InputError):
            Policy(target_fmr=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"min_eye_distance_px": 0}, {"max_yaw_deg": 91}, {"min_brightness": -1},
                                    {"max_overexposed": 2}, {"max_sample_similarity": float("nan")},
                                    {"min_sharpness": "20"}])  # fmt: skip
def test_policy_checks_its_numbers(change: dict) -> None:
    with pytest.raises(InputError):
        Policy(**change)


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
