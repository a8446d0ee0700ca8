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

import numpy as np
import pytest
import test_accelerator
from conftest import PORTRAITS
from test_accelerator import DEVICES, FAIL_AT, MAXIMUM_NODES, manifest_with, with_options

from facesdk import Engine, accelerator
from facesdk.errors import AcceleratorError, InputError
from facesdk.models import Manifest, OperatingPoint, load_manifest, models_folder, tomllib
from facesdk.policy import Policy

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "models" / "build")]

import edgetpu_points  # noqa: E402
import lfw  # noqa: E402
from operating_points import lowest_threshold, point_at, write_points  # noqa: E402

built, library = test_accelerator.built, test_accelerator.library
GROUPS = {"obama": "m", "biden": "m", "macron": "m", "sunak": "m", "ardern": "f", "hopper": "f"}


def fresh(folder: Path) -> Manifest:
    """The manifest of a folder as it is now."""
    return load_manifest.__wrapped__(folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The bundled photographs as an archive of LFW's layout, with their labels."""
    folder = tmp_path / "data"
    folder.mkdir()
    with (
        tarfile.open(folder / lfw.ARCHIVE, "w") as tar,
        open(folder / "lfw_attributes.csv", "w", newline="") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(("path", "gender"))
        for path in sorted(PORTRAITS.glob("*.jpg")):
            subject = path.stem.split("_")[0]
            name = f"lfw-deepfunneled/{subject}/{path.name}"
            tar.add(path, name)
            rows.writerow((name, GROUPS[subject]))
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
    return lambda: monkeypatch.setattr(accelerator, "_interpreter", lambda: (plain, load_delegate))


def measure(data: Path, models: Path, *options: str) -> int:
    return edgetpu_points.main(["--data", str(data), "--models", str(models), *options])


@pytest.mark.parametrize("rounds", [False, True])
def test_features_are_the_accelerator_s(library, data, models, rounding, monkeypatch, rounds) -> None:
    archive = data / lfw.ARCHIVE
    monkeypatch.setattr("facesdk.engine.load_manifest", lambda: fresh(models))
    own = lfw.labelled(lfw._extract_part((archive, 0, 1)), data, load_manifest())
    assert library.test_runs() == 0  # the processor's are the processor's, though a compiled file is there
    if rounds:
        rounding()
    engine = edgetpu_points.unmeasured(fresh(models), "usb:0")
    library.test_reset()
    found = lfw.labelled(lfw.extract(engine, archive), data, fresh(models))
    assert library.test_runs() == MAXIMUM_NODES["mobilefacenet"] * len(own.paths)
    assert found.paths == own.paths
    assert len(own.paths) == 10
    assert (found.features["sface"] == own.features["sface"]).all()
    for name in ("mobilefacenet", "joint"):
        assert (found.features[name] == own.features[name]).all() == (not rounds)
        cosines = (found.features[name] * own.features[name]).sum(axis=1)
        assert cosines.min() > accelerator.MIN_COSINE


def test_an_accelerator_that_rounds_is_taken_once_it_was_measured(
    library, data, models, rounding, monkeypatch, capsys
) -> None:
    rounding()
    monkeypatch.setattr("facesdk.engine.load_manifest", lambda: fresh(models))
    before = (models / "manifest.toml").read_text()
    assert measure(data, models) == 0
    assert (models / "manifest.toml").read_text() == before
    with pytest.raises(AcceleratorError, match="no operating points were measured with it"):
        Engine("mobilefacenet", runtime="edgetpu")
    assert measure(data, models, "--write") == 0
    for name in ("mobilefacenet", "joint"):
        assert "operating points measured" in Engine(name, runtime="edgetpu").runtime.reason
        entry = fresh(models).embedder(name)
        own = [(p.target_fmr, p.threshold) for p in entry.processor_points]
        assert entry.operating_points == entry.processor_points
        assert [(p.target_fmr, p.threshold) for p in entry.edgetpu_points] == own
        assert {(p.comparisons, p.fmr) for p in entry.edgetpu_points} == {(2, 0.0)}
    assert (models / "manifest.toml").read_text().startswith(before)
    assert measure(data, models, "--write") == 0
    assert len(tomllib.loads((models / "manifest.toml").read_text())["operating_points"]) == 5
    rows = re.findall(r" \| 0 women \| 0\.\d{5} \| 0 of 2 women \| 0 \| ", capsys.readouterr().out)
    assert len(rows) == 3 * 2 * len(lfw.TARGETS)


def highest_non_mated(data: Path, models: Path, embedder: str) -> float:
    """The highest score of two women or of two men on the accelerator."""
    engine = edgetpu_points.unmeasured(fresh(models), "usb:0")
    photos = lfw.labelled(lfw.extract(engine, data / lfw.ARCHIVE), data, fresh(models))
    return max(float(tail[0]) for tail, _ in lfw.group_scores(photos, embedder).values() if len(tail))


def move_thresholds(models: Path, to: float) -> list[OperatingPoint]:
    """Gives MobileFaceNet's points of the processor, all but the first, this threshold."""
    first, *others = tomllib.loads((models / "manifest.toml").read_text())["operating_points"]["mobilefacenet"]
    write_points(models / "manifest.toml", {"mobilefacenet": [first, *({**p, "threshold": to} for p in others)]})
    load_manifest.cache_clear()
    return list(fresh(models).embedder("mobilefacenet").processor_points)


def test_a_threshold_rises_to_where_the_accelerator_holds_the_target(
    library, data, models, rounding, monkeypatch, capsys
) -> None:
    rounding()
    monkeypatch.setattr("facesdk.engine.load_manifest", lambda: fresh(models))
    monkeypatch.setattr("facesdk.policy.load_manifest", lambda: fresh(models))
    highest = highest_non_mated(data, models, "mobilefacenet")
    own = move_thresholds(models, round(highest - 0.004, 5))
    assert measure(data, models, "--write") == 0
    entry = fresh(models).embedder("mobilefacenet")
    assert list(entry.processor_points) == own
    assert [p.threshold for p in entry.edgetpu_points] == [own[0].threshold, *3 * [pytest.approx(highest, abs=2e-5)]]
    assert all(p.threshold > highest and p.fmr == 0 for p in entry.edgetpu_points[1:])
    assert entry.operating_points == (own[0], *entry.edgetpu_points[1:])
    assert "operating points measured" in Engine("mobilefacenet", runtime="edgetpu").runtime.reason
    assert Policy().operating_point("mobilefacenet") == entry.edgetpu_points[2]
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| mobilefacenet | 2e-05"))
    raised = entry.edgetpu_points[2].threshold
    wanted = rf"\| {own[2].threshold:.5f} \| {100 * own[2].fnmr:.2f} % \| [1-9]\d* (wo)?men \| {raised:.5f} \| 0 of "
    assert re.search(wanted, row)
    before = (models / "manifest.toml").read_text()
    load_manifest.cache_clear()
    assert measure(data, models, "--write") == 0
    assert (models / "manifest.toml").read_text() == before  # a second run starts from the processor's own again


def test_an_embedder_whose_threshold_would_rise_too_far_gets_no_points(library, data, models, capsys) -> None:
    assert measure(data, models, "--write") == 0
    own = move_thresholds(models, highest_non_mated(data, models, "mobilefacenet") - 0.011)
    assert len(fresh(models).embedder("mobilefacenet").edgetpu_points) == len(own)
    assert measure(data, models, "--write") == 1
    assert "a threshold of mobilefacenet would have to rise by more than 0.01" in capsys.readouterr().err
    assert fresh(models).embedder("mobilefacenet").edgetpu_points == ()
    assert len(fresh(models).embedder("joint").edgetpu_points) == len(own)


def test_the_lowest_threshold_is_the_lowest_at_which_all_groups_hold() -> None:
    random = np.random.default_rng(0)
    groups = {n: (np.sort(random.random(500, np.float32))[::-1], count) for n, count in (("women", 1000), ("men", 900))}
    for target in (0.3, 0.1, 0.02, 1e-3):
        point = partial(point_at, target=target, mated=np.ones(1), groups=groups, models=[])
        threshold = lowest_threshold(groups, target)
        assert threshold == round(threshold, 5)
        assert point(threshold)["fmr"] <= target < point(threshold - 1e-5)["fmr"]


def nothing_compiled(models: Path, _library: object, _patch: pytest.MonkeyPatch) -> None:
    text = (models / "manifest.toml").read_text()
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith("edgetpu = ")]
    (models / "manifest.toml").write_text("".join(kept))


def no_device(_models: Path, library: object, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accelerator, "attached", list)
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
        (nothing_to_hold, "measure the processor's operating points first"),
    ],
)
def test_refusals_have_a_reason_and_write_nothing(library, data, models, monkeypatch, capsys, prepare, reason) -> None:
    prepare(models, library, monkeypatch)
    load_manifest.cache_clear()
    before = (models / "manifest.toml").read_bytes()
    assert measure(data, models, "--write") == 1
    assert re.search(f"^error: .*{reason}", capsys.readouterr().err)
    assert (models / "manifest.toml").read_bytes() == before


def test_a_point_is_of_the_worse_group() -> None:
    groups = {"women": (np.array([0.75, 0.5, 0.25]), 100), "men": (np.array([0.5, 0.5]), 20)}
    mated = np.array([0.25, 0.5, 0.75, 1.0])
    point = partial(point_at, target=0.02, mated=mated, groups=groups, models=["m"])
    assert {k: v for k, v in point(0.75).items() if k != "fmr_bound"} == {
        "target_fmr": 0.02, "threshold": 0.75, "group": "women", "comparisons": 100, "fmr": 0.01, "fnmr": 0.5,
        "models": ["m"],
    }  # fmt: skip
    low = point(0.5)
    assert (low["group"], low["fmr"], low["fnmr"]) == ("men", 0.1, 0.25)
    assert low["fmr_bound"] == pytest.approx(0.26166, abs=1e-5)  # Wilson, 2 of 20


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A copy of the shipped manifest with operating points of the Edge TPU."""
    path = tmp_path / "manifest.toml"
    path.write_text((models_folder() / "manifest.toml").read_text() + test_accelerator.points())
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


def photos(seed: int = 0) -> lfw.Photos:
    """Made-up people, six photos of each, with features that lie around a direction of their own."""
    random, people, each = np.random.default_rng(seed), 24, 6
    names = np.repeat([f"P{i}" for i in range(people)], each)
    paths = [f"lfw-deepfunneled/{n}/{n}_{i % each + 1:04d}.jpg" for i, n in enumerate(names)]
    features = {}
    for embedder in lfw.EMBEDDERS:
        centres = np.repeat(random.normal(size=(people, 64)), each, axis=0)
        vectors = centres + 0.5 * random.normal(size=centres.shape)
        features[embedder] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    groups = np.repeat(["f", "m"], people * each // 2)
    return lfw.Photos(paths, names, groups, features, np.full(len(paths), ""), 0)


def test_lfw_keeps_the_points_of_accelerators(manifest, tmp_path, monkeypatch, capsys) -> None:
    before = tomllib.loads(manifest.read_text())
    (tmp_path / "root" / "models").mkdir(parents=True)
    target = manifest.rename(tmp_path / "root" / "models" / "manifest.toml")
    (tmp_path / "root" / "README.md").write_text("<!-- lfw:begin -->\n<!-- lfw:end -->\n")
    fold = "P1 1 2\nP2 1 2\nP1 1 P2 1\nP3 1 P4 1\n"
    (tmp_path / "lfw_pairs.txt").write_text(f"2 2\n{fold}{fold}")
    monkeypatch.setattr(lfw, "ROOT", tmp_path / "root")
    monkeypatch.setattr(lfw, "load", lambda _data: photos())
    monkeypatch.setattr(sys, "argv", ["lfw.py", "--data", str(tmp_path), "--write"])
    assert lfw.main() == 0
    after = tomllib.loads(target.read_text())
    own, kept = before.pop("operating_points"), after.pop("operating_points")
    assert after == before
    assert kept.pop("mobilefacenet_edgetpu") == own.pop("mobilefacenet_edgetpu")
    assert kept.keys() == own.keys() == set(lfw.EMBEDDERS)
    assert all(kept[name] != own[name] and len(kept[name]) == len(lfw.TARGETS) for name in kept)
    assert target.read_text().count("written by benchmarks/lfw.py") == 1
    assert "| joint |" in (tmp_path / "root" / "README.md").read_text()
    capsys.readouterr()


def test_a_build_keeps_compiled_files_of_unchanged_networks(models, capsys) -> None:
    make = pytest.importorskip("make", reason="models/build needs CPython 3.11")
    path = models / "manifest.toml"
    path.write_text(path.read_text() + test_accelerator.points())
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
