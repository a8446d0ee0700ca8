"""The Edge TPU's way, with a delegate library of our own (tests/engine/delegate) in the place of libedgetpu.so.1."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import portrait

from facesdk import Decision, Engine, FaceVerifier, Policy
from facesdk.engine import edgetpu, twin
from facesdk.engine.edgetpu import Device, EdgeTpu, attached, device_of
from facesdk.engine.networks import Manifest, load_manifest, load_model, models_folder
from facesdk.engine.operating_points import BUCKETS
from facesdk.engine.runtime import choose_runtime
from facesdk.engine.twin import probes, synthetic_crop
from facesdk.errors import AcceleratorError, InputError, ModelIntegrityError
from facesdk.evaluation import vector

PLAIN = choose_runtime("auto").name  # what runs on the processor where no Edge TPU does
DEVICES, FAIL_AT, VANISH_AT = 0, 1, 2
MAXIMUM_NODES = {"sface": 27, "mobilefacenet": 33}
SOURCE = Path(__file__).parent / "delegate"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to build tests/engine/delegate with")
    pytest.importorskip("ai_edge_litert.interpreter")
    path = tmp_path_factory.mktemp("delegate") / "libedgetpu.so.1"
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", str(path), str(SOURCE / "delegate.cpp")], check=True)
    library = ctypes.CDLL(str(path))
    library.test_runs.restype = library.test_alive.restype = ctypes.c_long
    library.test_set.argtypes = [ctypes.c_int, ctypes.c_long]
    return library


@pytest.fixture
def library(built: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL:
    """The library as it is found, its settings those of the start."""
    built.test_reset()
    monkeypatch.setattr(edgetpu, "LIBRARY", built._name)
    return built


def manifest_with(folder: Path, *names: str, points: str = "", damage: bool = False) -> Manifest:
    """A copy of the manifest where these models have a compiled file: their own bytes, which our delegate claims."""
    folder.mkdir()
    text = (models_folder() / "manifest.toml").read_text()
    for path in models_folder().glob("*.tflite"):
        (folder / path.name).symlink_to(path)
    for name in names:
        data = (models_folder() / f"{name}.tflite").read_bytes()
        twin = (
            f'{{ file = "{name}_edgetpu.tflite", size = {len(data)}, sha256 = "{hashlib.sha256(data).hexdigest()}" }}'
        )
        text = text.replace(f"[models.{name}]\n", f"[models.{name}]\nedgetpu = {twin}\n")
        (folder / f"{name}_edgetpu.tflite").write_bytes(data[:-1] + b"\x01" if damage else data)
    (folder / "manifest.toml").write_text(text + points)
    return load_manifest(folder)


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Manifest]:
    """Makes the engine see a manifest with compiled models."""

    def use(*names: str, **options: object) -> Manifest:
        manifest = manifest_with(tmp_path / "models", *names, **options)  # type: ignore[arg-type]
        monkeypatch.setattr("facesdk.engine.engine.load_manifest", lambda: manifest)
        return manifest

    return use


def with_options(monkeypatch: pytest.MonkeyPatch, **options: str) -> None:
    monkeypatch.setattr(edgetpu, "EdgeTpu", partial(EdgeTpu, options=options))


def features(engine: Engine, name: str = "obama_2012") -> np.ndarray:
    found = engine.features(portrait(name))
    assert found is not None
    return vector(found)


@pytest.mark.parametrize("name", sorted(MAXIMUM_NODES))
def test_claimed_nodes_run_and_give_the_processor_s_bits(library, sface, name) -> None:
    engine = sface if name == "sface" else Engine(name)
    network = EdgeTpu().network(load_model(name))
    entry = load_manifest().models[name]
    for crop in probes(engine._networks):
        before = library.test_runs()
        assert twin.compare(network, engine._networks[name], [crop], entry=entry) == (pytest.approx(1.0), True)
        assert library.test_runs() - before == MAXIMUM_NODES[name]


def test_auto_takes_a_compiled_model(library, compiled) -> None:
    compiled("mobilefacenet")
    engine = Engine("mobilefacenet")
    assert engine.runtime.name == "edgetpu"
    assert engine.runtime.version == "facesdk test delegate 1"
    assert "mobilefacenet on usb, equal to the processor on the probes to the last bit" in engine.runtime.reason
    before = library.test_runs()
    found = features(engine)
    assert library.test_runs() - before == MAXIMUM_NODES["mobilefacenet"]
    assert (found == features(Engine("mobilefacenet", runtime=PLAIN))).all()
    assert engine.model_ids == Engine("mobilefacenet", runtime=PLAIN).model_ids


def test_models_without_a_compiled_file_stay_on_the_processor(library, compiled, joint) -> None:
    compiled("mobilefacenet")
    both = Engine("joint", runtime="edgetpu:usb:0")
    assert both.runtime.name == "edgetpu"
    assert list(both.networks()) == list(joint.networks())
    library.test_reset()
    assert (features(both) == features(joint)).all()
    assert library.test_runs() == MAXIMUM_NODES["mobilefacenet"]


def test_nothing_is_looked_for_without_a_compiled_model(monkeypatch) -> None:
    monkeypatch.setattr(edgetpu, "EdgeTpu", None)
    assert Engine("sface").runtime.name == PLAIN
    with pytest.raises(AcceleratorError, match="no model of sface was compiled for the Edge TPU"):
        Engine("sface", runtime="edgetpu")


FAILURES = {
    "create": ({"fail_create": "1"}, "cannot be opened: test delegate: creation fails on demand"),
    "create without a word": ({"fail_create": "2"}, "cannot be opened: the library gives no reason"),
    "prepare": ({"fail_prepare": "1"}, "does not take the model.*the graph is refused on demand"),
    "wrong numbers": ({"wrong": "1"}, r"mobilefacenet disagrees with the processor: cosine -?0\.\d+ on the probes"),
}


@pytest.mark.parametrize("failure", sorted(FAILURES))
def test_what_fails_at_the_start_is_refused_with_its_reason(library, compiled, monkeypatch, failure) -> None:
    options, reason = FAILURES[failure]
    compiled("mobilefacenet")
    assert Engine("mobilefacenet", runtime="edgetpu").runtime.name == "edgetpu"  # the positive twin
    with_options(monkeypatch, **options)
    with pytest.raises(AcceleratorError, match=reason):
        Engine("mobilefacenet", runtime="edgetpu")
    fallen_back = Engine("mobilefacenet")
    assert fallen_back.runtime.name == PLAIN
    assert re.search(f"; edgetpu: .*{reason}", fallen_back.runtime.reason)
    library.test_reset()
    assert (features(fallen_back) == features(Engine("mobilefacenet", runtime=PLAIN))).all()
    assert library.test_runs() == 0
    gc.collect()
    assert [library.test_alive(what) for what in range(3)] == [0, 0, 0]


def test_missing_or_other_library_is_refused(compiled, monkeypatch, built) -> None:
    compiled("mobilefacenet")
    monkeypatch.setattr(edgetpu, "LIBRARY", "libno-such-thing.so.1")
    with pytest.raises(AcceleratorError, match=r"libno-such-thing\.so\.1 cannot be loaded"):
        Engine("mobilefacenet", runtime="edgetpu")
    assert "libno-such-thing.so.1 cannot be loaded" in Engine("mobilefacenet").runtime.reason
    monkeypatch.setattr(edgetpu, "LIBRARY", "libc.so.6")
    with pytest.raises(AcceleratorError, match="it is no TFLite delegate"):
        EdgeTpu()


def test_devices_are_listed_and_asked_for_by_number(library, monkeypatch) -> None:
    assert EdgeTpu().devices() == [Device("usb", "/sys/bus/usb/devices/1-1")]
    library.test_set(DEVICES, 2)
    assert len(EdgeTpu("usb:1").devices()) == 2
    assert EdgeTpu("usb:1").network(load_model("mobilefacenet"))
    with pytest.raises(AcceleratorError, match="cannot be opened"):
        EdgeTpu("usb:2").network(load_model("mobilefacenet"))
    library.test_set(DEVICES, 0)
    monkeypatch.setattr(edgetpu, "attached", list)
    with pytest.raises(AcceleratorError, match="no Edge TPU is attached"):
        EdgeTpu()
    monkeypatch.setattr(edgetpu, "attached", lambda: [Device("usb", "/sys/bus/usb/devices/2-1")])
    with pytest.raises(AcceleratorError, match=r"devices/2-1\) but cannot be opened: permissions"):
        EdgeTpu()
    for wrong in ("usb0", "usb:-1", "usb:x", "gpu", "pci:0\n", "usb:9999"):
        with pytest.raises(InputError, match="an Edge TPU is named"):
            EdgeTpu(wrong)


def test_the_kernel_s_list(tmp_path: Path) -> None:
    ids = {
        "usb/devices/1-1": {"idVendor": "1a6e", "idProduct": "089a"},
        "usb/devices/1-2": {"idVendor": "18d1", "idProduct": "9302"},
        "usb/devices/1-3": {"idVendor": "18d1", "idProduct": "4ee1"},
        "usb/devices/1-3:1.0": {},
        "pci/devices/0000:01:00.0": {"vendor": "0x1ac1", "device": "0x089a"},
        "pci/devices/0000:02:00.0": {"vendor": "0x8086", "device": "0x089a"},
    }
    for folder, files in ids.items():
        (tmp_path / "bus" / folder).mkdir(parents=True)
        for name, text in files.items():
            (tmp_path / "bus" / folder / name).write_text(text + "\n")
    found = [(d.kind, Path(d.path).name) for d in attached(tmp_path)]
    assert found == [("usb", "1-1"), ("usb", "1-2"), ("pci", "0000:01:00.0")]
    assert attached(tmp_path / "nowhere") == []


@pytest.mark.parametrize("how", [FAIL_AT, VANISH_AT])
def test_auto_goes_on_with_the_processor_in_the_same_frame(library, compiled, how) -> None:
    compiled("mobilefacenet")
    engine, plain = Engine("mobilefacenet"), Engine("mobilefacenet", runtime=PLAIN)
    assert (features(engine) == features(plain)).all()
    library.test_set(how, library.test_runs() + 17)  # in the middle of the network
    assert engine.runtime.name == "edgetpu"
    assert (features(engine, "biden") == features(plain, "biden")).all()
    runs = library.test_runs()
    assert engine.runtime.name == PLAIN
    wanted = "node run .* fails on demand" if how == FAIL_AT else "the device has vanished"
    assert re.search(f"edgetpu was lost: .*{wanted}", engine.runtime.reason)
    assert plain.runtime.reason in engine.runtime.reason
    assert (features(engine, "sunak") == features(plain, "sunak")).all()
    assert library.test_runs() == runs  # it is not asked again
    if how == VANISH_AT:
        assert "no Edge TPU is attached" in Engine("mobilefacenet").runtime.reason


@pytest.mark.parametrize("how", [FAIL_AT, VANISH_AT])
def test_an_edge_tpu_that_was_asked_for_fails_aloud(library, compiled, how) -> None:
    compiled("mobilefacenet")
    engine = Engine("mobilefacenet", runtime="edgetpu")
    good = features(engine)
    library.test_set(how, library.test_runs() + 3)
    with pytest.raises(AcceleratorError, match="the Edge TPU failed"):
        engine.features(portrait("biden"))
    assert engine.runtime.name == "edgetpu"
    if how == FAIL_AT:
        assert (features(engine) == good).all()
    else:
        with pytest.raises(AcceleratorError, match="vanished"):
            engine.features(portrait("obama_2012"))


def test_a_failure_on_the_probes_is_a_refusal(library, compiled) -> None:
    compiled("mobilefacenet")
    library.test_set(FAIL_AT, 40)
    with pytest.raises(AcceleratorError, match="mobilefacenet failed on the probes"):
        Engine("mobilefacenet", runtime="edgetpu")
    library.test_reset()
    library.test_set(VANISH_AT, 40)
    assert "edgetpu: mobilefacenet failed on the probes" in Engine("mobilefacenet").runtime.reason


@pytest.mark.parametrize("runtime", ["auto", "edgetpu"])
def test_a_damaged_compiled_file_is_never_run(library, compiled, runtime) -> None:
    compiled("mobilefacenet", damage=True)
    with pytest.raises(ModelIntegrityError, match=r"mobilefacenet_edgetpu\.tflite should have sha256"):
        Engine("mobilefacenet", runtime=runtime)
    assert library.test_runs() == 0


def test_a_compiled_file_of_another_network_is_refused(library, compiled, monkeypatch) -> None:
    manifest = compiled("mobilefacenet")
    other = load_model("sface", manifest)
    monkeypatch.setattr(edgetpu, "load_model", lambda *_arguments, **_options: other)
    with pytest.raises(AcceleratorError, match="other tensors than its twin"):
        Engine("mobilefacenet", runtime="edgetpu")


def moved(point: dict, by: float) -> list[list[float]]:
    """Its thresholds, all of them moved."""
    return [[threshold + by for threshold in row] for row in point["thresholds"]]


def points(change: Callable[[dict], None] = lambda _point: None, *, skip: float | None = None) -> str:
    """Operating points of the accelerator: the processor's own, changed."""
    entry, lines = load_manifest().embedder("mobilefacenet"), []
    for point in entry.processor_points:
        values = {**vars(point), "models": list(point.models)}
        change(values)
        if point.target_fmr == skip:
            continue
        lines += ["", "[[operating_points.mobilefacenet_edgetpu]]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("", False),
        (points(), True),
        (points(lambda p: p.update(thresholds=moved(p, -0.01))), True),
        (points(lambda p: p.update(thresholds=moved(p, 1e-5))), True),
        (points(lambda p: p.update(models=["0" * 16, "1" * 16])), False),
        (points(skip=2e-5), False),
    ],
    ids=["none", "all", "lower threshold", "higher threshold", "other models", "one missing"],
)
def test_rounding_needs_points_that_hold_every_target(library, compiled, monkeypatch, text, accepted) -> None:
    compiled("mobilefacenet", points=text)
    monkeypatch.setattr(twin, "compare", lambda *_arguments, **_options: (0.999, False))
    engine = Engine("mobilefacenet")
    if accepted:
        assert "rounds differently from the processor, operating points measured" in engine.runtime.reason
    else:
        assert engine.runtime.name == PLAIN
        assert "no operating points were measured with it" in engine.runtime.reason


@pytest.mark.parametrize("of_this_file", [True, False])
def test_the_processor_decides_by_the_accelerator_s_threshold_where_it_is_higher(
    compiled, monkeypatch, tmp_path, key_file, of_this_file
) -> None:
    def near_one(point: dict) -> None:
        point["thresholds"] = [[0.99 - point["target_fmr"]] * len(BUCKETS)] * len(BUCKETS)
        point["models"] = point["models"] if of_this_file else ["0" * 16, "1" * 16]

    manifest = compiled("mobilefacenet", points=points(near_one))
    monkeypatch.setattr("facesdk.policy.load_manifest", lambda: manifest)
    engine = Engine("mobilefacenet", runtime=PLAIN)
    policy = Policy(target_fmr=1e-3)
    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, engine=engine, policy=policy)
    verifier.enroll("owner", [portrait("obama_2009")], allow_few_samples=True)
    outcome = verifier.verify("owner", portrait("obama_2012"))
    assert outcome.decision is (Decision.NON_MATCH if of_this_file else Decision.MATCH)


def test_features_are_those_of_the_accelerator(library, compiled, monkeypatch) -> None:
    compiled("mobilefacenet", points=points())
    monkeypatch.setattr(twin, "compare", lambda *_arguments, **_options: (0.999, False))
    with_options(monkeypatch, wrong="1")
    engine, plain = Engine("mobilefacenet"), Engine("mobilefacenet", runtime=PLAIN)
    assert float(features(engine) @ features(plain)) < 0.995


def test_not_a_number_is_a_disagreement(library, compiled, monkeypatch) -> None:
    compiled("mobilefacenet", points=points())
    monkeypatch.setattr(twin, "compare", lambda *_arguments, **_options: (float("nan"), True))
    assert "disagrees with the processor" in Engine("mobilefacenet").runtime.reason


def test_bound_lies_below_what_rounding_does(sface) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from facesdk.engine.runtime import interpreter_network

    plain = partial(Interpreter, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    network = interpreter_network(plain, load_model("sface"), 1)
    crops, entry = probes(sface._networks), load_manifest().models["sface"]
    cosine, _ = twin.compare(network, sface._networks["sface"], crops, entry=entry)
    assert twin.MIN_COSINE < cosine <= 1.0


def test_requests() -> None:
    assert [device_of(r) for r in ("edgetpu", "edgetpu:usb:0", "edgetpu::1", "auto", "litert", "edgetpus")] == [
        "", "usb:0", ":1", None, None, None,
    ]  # fmt: skip
    with pytest.raises(InputError, match="runtime must be auto, edgetpu or one of"):
        Engine("sface", runtime="edgetpus")
    crop = synthetic_crop()
    assert (crop.shape, crop.dtype) == ((112, 112, 3), np.uint8)
    assert crop.std() > 30


def resident_kb() -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1])


def test_two_hundred_engines_leave_nothing_behind(library, compiled, monkeypatch) -> None:
    compiled("mobilefacenet")
    crops = [synthetic_crop()]
    monkeypatch.setattr(twin, "probes", lambda _networks: crops)
    after_warm_up = 0
    for count in range(200):
        engine = Engine("mobilefacenet", runtime=("auto", "edgetpu")[count % 2])
        assert engine.runtime.name == "edgetpu"
        del engine
        if count == 49:
            gc.collect()
            after_warm_up = resident_kb()
    gc.collect()
    assert [library.test_alive(what) for what in range(3)] == [0, 0, 0]
    assert resident_kb() - after_warm_up < 15_000  # 150 leaked models alone would be 240,000
