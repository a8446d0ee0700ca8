"""Our executor against LiteRT: the same bits on every picture and variant; LiteRT where it does not know a network."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import PORTRAITS, portrait
from PIL import Image

from facesdk import Engine, _core
from facesdk.device.doctor import examine
from facesdk.engine import runtime
from facesdk.engine.networks import load_manifest, load_model
from facesdk.engine.runtime import choose_runtime, native_variant
from facesdk.errors import AcceleratorError
from facesdk.evaluation import vector

EMBEDDERS = ("sface", "mobilefacenet")
FLOATS = ("blazeface_short_range", "face_mesh", "iris_landmark")
RANDOM = 1000
needs_variant = pytest.mark.skipif(not native_variant(), reason="this processor lacks AVX512-VNNI: LiteRT runs all")


def crops() -> list[np.ndarray]:
    """Aligned faces of all portraits, as they are and at every brightness; smooth, noisy, constant, extreme images."""
    engine = Engine("sface", runtime="litert-native")
    faces = [engine.observe(portrait(path.stem))[0].crop for path in sorted(PORTRAITS.glob("*.*g"))]
    faces += [np.clip(face.astype(int) * gain // 100 + lift, 0, 255) for face in faces for gain, lift in
              ((20, 0), (60, 40), (140, -20), (300, -200))]  # fmt: skip
    draw = np.random.default_rng(5)
    y, x = np.mgrid[0:112, 0:112]
    waves = draw.uniform(2, 40, (40, 3))
    smooth = [127 + 120 * np.sin(x / a + np.arange(3)[:, None, None] * b) * np.cos(y / c) for a, b, c in waves]
    constant = [np.full((112, 112, 3), value) for value in (0, 1, 127, 128, 254, 255)]
    extreme = [draw.integers(0, 2, (112, 112, 3)) * 255 for _ in range(20)]
    edges = [np.where((x < k)[..., None], 255, 0) * np.ones(3) for k in (1, 3, 55, 111)]
    made = [*faces, *(np.moveaxis(wave, 0, -1) for wave in smooth), *constant, *extreme, *edges]
    return [np.ascontiguousarray((np.asarray(image).astype(np.int16) - 128).astype(np.int8)[None]) for image in made]


def differing(name: str, variant: str, images: list[np.ndarray]) -> int:
    theirs = choose_runtime("litert-native").make_network(load_model(name))
    ours = _core.native_network(load_model(name), variant)
    assert ours.input_info == theirs.input_info
    assert ours.output_infos == theirs.output_infos
    return sum(any(not np.array_equal(a, b) for a, b in zip(ours.run(i), theirs.run(i), strict=True)) for i in images)


@needs_variant
@pytest.mark.parametrize("name", EMBEDDERS)
def test_faces_and_made_images_have_the_same_bits(name: str) -> None:
    images = crops()
    assert len(images) > 120
    assert differing(name, native_variant(), images) == 0


def pictures(name: str) -> list[np.ndarray]:
    """Portraits as a float network sees them, smooth waves, noise, and images of one value."""
    entry = load_manifest().models[name]
    side = entry.input["shape"][1]
    faces = [Image.fromarray(portrait(p.stem)).resize((side, side)) for p in sorted(PORTRAITS.glob("*.*g"))]
    draw = np.random.default_rng(7)
    y, x = np.mgrid[0:side, 0:side]
    made = [(np.asarray(face).astype(np.float32) - entry.mean) / entry.scale for face in faces]
    made += [
        np.stack([np.sin(x / a + k) * np.cos(y / b) for k in range(3)], -1) for a, b in draw.uniform(2, 40, (20, 2))
    ]
    made += [draw.normal(0, scale, (side, side, 3)) for scale in (0.01, 0.3, 1, 5) for _ in range(5)]
    made += [np.full((side, side, 3), value) for value in (-1, 0, 1, 1000)]
    return [np.ascontiguousarray(image[None], np.float32) for image in made]


@needs_variant
@pytest.mark.parametrize("name", FLOATS)
def test_float_networks_have_the_same_bits(name: str) -> None:
    images = pictures(name)
    assert len(images) > 50
    assert differing(name, native_variant(), images) == 0


@pytest.mark.parametrize("name", FLOATS)
def test_the_definition_of_float_networks_has_the_same_bits(name: str) -> None:
    assert differing(name, "scalar", pictures(name)[::20]) == 0


@needs_variant
@pytest.mark.parametrize("name", EMBEDDERS)
def test_random_images_have_the_same_bits(name: str) -> None:
    draw = np.random.default_rng(6)
    images = [draw.integers(-128, 128, (1, 112, 112, 3), np.int8) for _ in range(RANDOM)]
    assert differing(name, native_variant(), images) == 0


@pytest.mark.parametrize("name", EMBEDDERS)
def test_the_definition_has_the_same_bits(name: str) -> None:
    assert _core.native_variants()[-1] == "scalar"
    assert differing(name, "scalar", crops()[::30]) == 0


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("name", [*EMBEDDERS, *FLOATS])
def test_more_threads_give_the_same_bits(name: str, threads: int) -> None:
    variant, crew = _core.native_variants()[0], _core.Crew(threads)
    alone, together = (_core.native_network(load_model(name), variant, c) for c in (None, crew))
    images = crops()[::20] if name in EMBEDDERS else pictures(name)[::8]
    for image in images[: 1 if variant == "scalar" else None]:
        for a, b in zip(alone.run(image), together.run(image), strict=True):
            assert np.array_equal(a, b)


def test_networks_of_one_crew_run_side_by_side() -> None:
    variant, crew = _core.native_variants()[0], _core.Crew(2)
    images = crops()[:6]
    networks = [_core.native_network(load_model("mobilefacenet"), variant, crew) for _ in range(3)]
    wanted = [networks[0].run(image)[0] for image in images]

    def all_of(network: _core.Network) -> bool:
        return all(np.array_equal(network.run(i)[0], w) for i, w in zip(images * 5, wanted * 5, strict=True))

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(all_of, networks))


@pytest.mark.parametrize("threads", [0, -1, 65])
def test_a_crew_has_a_sensible_number_of_threads(threads: int) -> None:
    with pytest.raises(ValueError, match="1 to 64 threads"):
        _core.Crew(threads)


@needs_variant
def test_threads_of_an_engine_change_no_feature() -> None:
    found = [vector(Engine("joint", threads=n).features(portrait("obama_2012"))) for n in (1, 2, 4)]
    assert all(np.array_equal(one, found[0]) for one in found)


def test_a_changed_image_changes_the_answer() -> None:
    network = _core.native_network(load_model("mobilefacenet"), _core.native_variants()[0])
    (first,) = network.run(np.zeros((1, 112, 112, 3), np.int8))
    (second,) = network.run(np.full((1, 112, 112, 3), 90, np.int8))
    assert first.any()
    assert not np.array_equal(first, second)


def test_what_it_does_not_know_is_refused_by_reason() -> None:
    variant = _core.native_variants()[0]
    with pytest.raises(_core.RuntimeFailure, match="the native executor has no padding of this kind"):
        _core.native_network(load_model("blazeface_full_range"), variant)
    for broken in (b"", b"TFL3", os.urandom(1000), bytes(load_model("sface")[:5000])):
        with pytest.raises(_core.RuntimeFailure):
            _core.native_network(broken, variant)
    with pytest.raises(ValueError, match="a variant that this processor runs"):
        _core.native_network(load_model("sface"), "avx1024")


@needs_variant
def test_auto_takes_it_and_features_stay_the_same(joint: Engine) -> None:
    assert joint.runtime.name == "native"
    assert "own executor" in joint.runtime.reason
    plain = Engine("joint", runtime="litert-native")
    for name in ("obama_2012", "hopper"):
        ours, theirs = joint.features(portrait(name)), plain.features(portrait(name))
        assert np.array_equal(vector(ours), vector(theirs))
    assert joint.model_ids == plain.model_ids


@needs_variant
def test_doctor_says_which_networks_it_runs() -> None:
    facts = examine()["native"]
    assert {name for name, found in facts.items() if found == native_variant()} >= {*EMBEDDERS, *FLOATS}
    others = {name: found for name, found in facts.items() if found != native_variant()}
    assert others
    assert all("the native executor has no" in found for found in others.values())


def test_without_a_variant_litert_runs_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "native_variants", lambda: ["scalar"])
    with pytest.raises(AcceleratorError, match="AVX512-VNNI"):
        choose_runtime("native")
    chosen = choose_runtime("auto")
    assert chosen.name == "litert-native"
    assert "native: this processor lacks" in chosen.reason
    assert examine()["native"] == {}


@needs_variant
def test_a_model_that_it_refuses_goes_to_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise _core.RuntimeFailure("the native executor has no such layers")

    engine = Engine("mobilefacenet", runtime="native")
    before = vector(engine.features(portrait("hopper")))
    monkeypatch.setattr(runtime._core, "native_network", refuse)
    assert np.array_equal(vector(Engine("mobilefacenet", runtime="native").features(portrait("hopper"))), before)
    monkeypatch.setattr(runtime, "RUNTIMES", ("native",))
    with pytest.raises(AcceleratorError, match=r"the native executor has no such layers; no runtime"):
        Engine("mobilefacenet", runtime="native")


LOADED = """
import sys
from facesdk import Engine
from facesdk.portraits import load
engine = Engine(runtime=sys.argv[1])
assert engine.features(load("obama_2012.jpg")) is not None
assert ("libLiteRt" in open("/proc/self/maps").read()) == (sys.argv[1] != "native")
"""


@needs_variant
def test_litert_is_not_loaded_for_a_face_that_is_near() -> None:
    for name in ("native", "litert-native"):
        subprocess.run([sys.executable, "-c", LOADED, name], check=True)


@needs_variant
def test_without_a_usable_litert_the_interpreter_runs_what_it_does_not_know(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(runtime, "LITERT", tmp_path)
    engine = Engine("sface")
    assert engine.runtime.name == "native"
    _, faces = engine.observe(np.full((480, 640, 3), 90, np.uint8))  # looks for the distant too, which LiteRT does
    assert faces == []


@needs_variant
def test_without_any_other_runtime_it_is_not_taken(monkeypatch, tmp_path) -> None:
    """What it does not know would be missed in the middle of a frame."""
    monkeypatch.setattr(runtime, "LITERT", tmp_path)
    monkeypatch.setattr(runtime, "_version", lambda _package: None)
    with pytest.raises(AcceleratorError, match=r"no LiteRT library in .* for networks of other kinds"):
        choose_runtime("native")
