"""Operating points in the manifest: the Edge TPU's are measured and written, and nothing that writes it drops them."""

from __future__ import annotations

import csv
import hashlib
import re
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import test_edgetpu
from conftest import PORTRAITS
from test_edgetpu import DEVICES, FAIL_AT, MAXIMUM_NODES, manifest_with, with_options

from facesdk import Engine
from facesdk.engine import edgetpu, twin
from facesdk.engine.networks import Manifest, load_manifest, models_folder, tomllib
from facesdk.engine.operating_points import matrix_of
from facesdk.errors import AcceleratorError, InputError

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "models" / "build")]

import edgetpu_points  # noqa: E402
import photo_sets  # noqa: E402
from calibration import Calibration  # noqa: E402
from operating_points import write_points  # noqa: E402
from photo_sets import of_embedder  # noqa: E402

built, library = test_edgetpu.built, test_edgetpu.library
GROUPS = {"obama": "m", "biden": "m", "macron": "m", "sunak": "m", "ardern": "f", "hopper": "f"}


def fresh(folder: Path) -> Manifest:
    """The manifest of a folder as it is now."""
    return load_manifest.__wrapped__(folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The bundled photographs as the archives of the photo sets, with their labels."""
    folder = tmp_path / "data"
    folder.mkdir()
    labels = []
    for name, archive in photo_sets.SETS.items():
        with tarfile.open(folder / archive, "w") as tar:
            for path in sorted(PORTRAITS.glob("*.jpg")):
                subject = path.stem.split("_")[0]
                where = f"{name}/{subject}/{path.name}"
                tar.add(path, where)
                labels.append((where, GROUPS[subject]))
    with open(folder / "lfw_attributes.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([("path", "gender"), *labels])
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder in which MobileFaceNet has a compiled file: its own with some bytes after its end."""
    folder = manifest_with(tmp_path / "models", "mobilefacenet").folder
    twin = load_manifest().models["mobilefacenet"]
    compiled = (folder / "mobilefacenet_edgetpu.tflite").read_bytes() + b"compiled"
    (folder / "mobilefacenet_edgetpu.tflite").write_bytes(compiled)
    text = (folder / "manifest.toml").read_text()
    for old, new in ((twin.sha256, hashlib.sha256(compiled).hexdigest()), (str(twin.size), str(len(compiled)))):
        text = text.replace(old, new, 1)  # the compiled file comes first in its table
    (folder / "manifest.toml").write_text(text)
    load_manifest.cache_clear()
    return folder


@pytest.fixture
def rounding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the accelerator round differently: around the delegate's nodes TFLite's own kernels run, not XNNPACK's."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate

    plain = partial(Interpreter, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    return lambda: monkeypatch.setattr(edgetpu, "_interpreter", lambda: (plain, load_delegate))


def measure(data: Path, models: Path, *options: str) -> int:
    return edgetpu_points.main(["--data", str(data), "--models", str(models), *options])


@pytest.mark.parametrize("rounds", [False, True])
def test_features_are_the_accelerator_s(library, data, models, rounding, monkeypatch, rounds) -> None:
    monkeypatch.setattr("facesdk.engine.engine.load_manifest", lambda: fresh(models))
    own = photo_sets.photo_set(data, "lfw", photo_sets._part((data, "lfw", 0, 1)))
    assert library.test_runs() == 0  # the processor's are the processor's, though a compiled file is there
    if rounds:
        rounding()
    engine = edgetpu_points.unmeasured(fresh(models), "usb:0")
    library.test_reset()
    found = photo_sets.photo_set(data, "lfw", photo_sets.measured(engine, data, "lfw"))
    assert library.test_runs() == MAXIMUM_NODES["mobilefacenet"] * 2 * len(own.paths)  # crops and mirrored crops
    assert found.paths.tolist() == own.paths.tolist()
    assert len(own.paths) == 10
    assert sorted(set(own.group)) == ["men", "women"]
    for part in ("joint", "mirrored"):
        here, there = getattr(own, part), getattr(found, part)
        assert (of_embedder(here, "sface") == of_embedder(there, "sface")).all()
        for name in ("mobilefacenet", "joint"):
            assert (of_embedder(here, name) == of_embedder(there, name)).all() == (not rounds)
            assert (of_embedder(here, name) * of_embedder(there, name)).sum(axis=1).min() > twin.MIN_COSINE


def rising(monkeypatch: pytest.MonkeyPatch, models: Path, **by: float) -> None:
    """Makes each embedder's calibration come to the processor's points, moved: ten photographs have no tails."""

    class Moved(Calibration):
        def __init__(self, sets: dict, embedder: str, ids: list[str]) -> None:
            assert {name: len(photos.paths) for name, photos in sets.items()} == dict.fromkeys(photo_sets.SETS, 10)
            self.embedder, self.models = embedder, ids

        def points(self) -> list[dict]:
            listed = tomllib.loads((models / "manifest.toml").read_text())["operating_points"][self.embedder]
            listed = [{k: matrix_of(v) if isinstance(v, str) else v for k, v in p.items()} for p in listed]
            move = by.get(self.embedder, 0.0)
            return [
                {
                    **p,
                    "thresholds": [[t + move for t in row] for row in p["thresholds"]],
                    "models": self.models,
                }
                for p in listed
            ]

    monkeypatch.setattr(edgetpu_points, "Calibration", Moved)


def test_an_accelerator_that_rounds_is_taken_once_it_was_measured(
    library, data, models, rounding, monkeypatch, capsys
) -> None:
    rounding()
    rising(monkeypatch, models, joint=0.005)
    monkeypatch.setattr("facesdk.engine.engine.load_manifest", lambda: fresh(models))
    before = (models / "manifest.toml").read_text()
    assert measure(data, models) == 0
    assert (models / "manifest.toml").read_text() == before
    with pytest.raises(AcceleratorError, match="no operating points were measured with it"):
        Engine("mobilefacenet", runtime="edgetpu")
    assert measure(data, models, "--write") == 0
    for name, by in (("mobilefacenet", 0.0), ("joint", 0.005)):
        assert "operating points measured" in Engine(name, runtime="edgetpu").runtime.reason
        own, both = load_manifest().embedder(name), fresh(models).embedder(name)
        for samples, frames in ((1, 1), (3, 5)):
            point = both.point(2e-5, samples=samples, frames=frames)
            assert point.threshold == own.point(2e-5, samples=samples, frames=frames).threshold + by
    assert (models / "manifest.toml").read_text().startswith(before)
    load_manifest.cache_clear()
    assert measure(data, models, "--write") == 0
    assert len(tomllib.loads((models / "manifest.toml").read_text())["operating_points"]) == 5
    assert "above the processor's by at most 0.005" in capsys.readouterr().out


def test_an_embedder_whose_threshold_would_rise_too_far_gets_no_points(
    library, data, models, monkeypatch, capsys
) -> None:
    rising(monkeypatch, models)
    assert measure(data, models, "--write") == 0
    load_manifest.cache_clear()
    assert len(fresh(models).embedder("mobilefacenet").edgetpu_points) == 4
    rising(monkeypatch, models, mobilefacenet=0.011)
    assert measure(data, models, "--write") == 1
    assert "a threshold of mobilefacenet would have to rise by more than 0.01" in capsys.readouterr().err
    assert fresh(models).embedder("mobilefacenet").edgetpu_points == ()
    assert len(fresh(models).embedder("joint").edgetpu_points) == 4


def nothing_compiled(models: Path, _library: object, _patch: pytest.MonkeyPatch) -> None:
    text = (models / "manifest.toml").read_text()
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith("edgetpu = ")]
    (models / "manifest.toml").write_text("".join(kept))


def no_device(_models: Path, library: object, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(edgetpu, "attached", list)
    library.test_set(DEVICES, 0)  # type: ignore[attr-defined]


def fails_later(_models: Path, library: object, _patch: pytest.MonkeyPatch) -> None:
    library.test_set(FAIL_AT, 4 * MAXIMUM_NODES["mobilefacenet"] + 50)  # type: ignore[attr-defined]


def wrong_numbers(_models: Path, _library: object, patch: pytest.MonkeyPatch) -> None:
    with_options(patch, wrong="1")


def nothing_to_hold(models: Path, _library: object, _patch: pytest.MonkeyPatch) -> None:
    write_points(models / "manifest.toml", {"joint": []})


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (nothing_compiled, "no model of joint was compiled for the Edge TPU"),
        (no_device, "no Edge TPU is attached"),
        (fails_later, "the Edge TPU failed: .*fails on demand"),
        (wrong_numbers, "mobilefacenet disagrees with the processor"),
        (nothing_to_hold, "measure the processor's points first"),
    ],
)
def test_refusals_have_a_reason_and_write_nothing(library, data, models, monkeypatch, capsys, prepare, reason) -> None:
    prepare(models, library, monkeypatch)
    load_manifest.cache_clear()
    before = (models / "manifest.toml").read_bytes()
    assert measure(data, models, "--write") == 1
    assert re.search(f"^error: .*{reason}", capsys.readouterr().err)
    assert (models / "manifest.toml").read_bytes() == before


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A copy of the shipped manifest with operating points of the Edge TPU."""
    path = tmp_path / "manifest.toml"
    path.write_text((models_folder() / "manifest.toml").read_text() + test_edgetpu.points())
    return path


def test_the_shipped_manifest_is_as_written(tmp_path) -> None:
    text = (models_folder() / "manifest.toml").read_text()
    path = tmp_path / "manifest.toml"
    path.write_text(text)
    write_points(path, {})
    assert path.read_text() == text
    write_points(path, {"sface_edgetpu": [{"fmr": 2e-05, "models": ["a"]}]})
    write_points(path, {"sface_edgetpu": []})
    assert path.read_text() == text


def test_nothing_is_written_where_something_would_be_lost(manifest) -> None:
    text = manifest.read_text()
    for wrong in (text.replace("# operating points", "# points"), f"{text}[models.sface.edgetpu]\nfile = 'x'\n"):
        manifest.write_text(wrong)
        with pytest.raises(InputError, match="operating points belong behind"):
            write_points(manifest, {"sface": []})
        assert manifest.read_text() == wrong


def test_a_build_keeps_compiled_files_of_unchanged_networks(models, capsys) -> None:
    make = pytest.importorskip("make", reason="models/build needs CPython 3.11")
    path = models / "manifest.toml"
    path.write_text(path.read_text() + test_edgetpu.points())
    built_anew = (models_folder() / "manifest.toml").read_text().partition("\n# operating points")[0]
    assert make._with_kept(built_anew, path) == path.read_text()
    assert capsys.readouterr().out == ""
    sha256 = load_manifest().models["mobilefacenet"].sha256
    changed = built_anew.replace(f'\nsha256 = "{sha256}"', f'\nsha256 = "{"0" * 64}"')
    merged = tomllib.loads(make._with_kept(changed, path))
    assert "edgetpu" not in merged["models"]["mobilefacenet"]
    assert merged["operating_points"] == tomllib.loads(path.read_text())["operating_points"]
    assert "mobilefacenet_edgetpu.tflite was compiled from the old one and is dropped" in capsys.readouterr().out
    assert make._with_kept(built_anew, models / "none.toml") == built_anew
