"""What models/build does to a network's last layers: another shape, the same function."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facesdk.engine.building.network import Conv, Network
from facesdk.engine.building.writer import write
from facesdk.engine.runtime import choose_runtime

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "models" / "build")]
rewrites = pytest.importorskip("rewrites", reason="models/build is not part of a source distribution")

SIZE, CHANNELS = 6, 20


def network(seed: int = 0) -> Network:
    """A convolution, and the three linear ones of a tail over SIZE x SIZE pixels."""
    draw = np.random.default_rng(seed)

    def conv(name: str, source: str, shape: tuple[int, ...], **more: object) -> Conv:
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        return Conv(name, source, draw.normal(size=shape) * scale, draw.normal(size=shape[0]), 1, (0, 0, 0, 0), **more)

    return Network("tail", SIZE, [
        conv("first", "input", (CHANNELS, 1, 1, 3), slope=draw.uniform(0.1, 0.9, CHANNELS)),
        conv("spread", "first", (CHANNELS, SIZE, SIZE, 1), depthwise=True),
        conv("middle", "spread", (12, 1, 1, CHANNELS)),
        conv("last", "middle", (9, 1, 1, 12)),
    ])  # fmt: skip


def outputs(built: Network, pictures: np.ndarray) -> np.ndarray:
    run = choose_runtime("litert-native").make_network(write(built))
    return np.stack([run.run(picture)[0].ravel() for picture in pictures])


def test_a_merged_tail_is_the_same_function() -> None:
    built, merged = network(), network()
    rewrites.merge_tail(merged)
    assert len(merged.nodes) == len(built.nodes)
    assert merged.nodes[-1].weights.shape == (9, 1, 1, SIZE * CHANNELS)
    pictures = np.random.default_rng(1).normal(size=(8, 1, SIZE, SIZE, 3)).astype(np.float32)
    np.testing.assert_allclose(outputs(merged, pictures), outputs(built, pictures), rtol=1e-4, atol=1e-5)


def test_equalizing_its_middle_is_the_same_function() -> None:
    merged, equal = network(), network()
    for one in (merged, equal):
        rewrites.merge_tail(one)
    peak = {"spread": np.random.default_rng(2).uniform(0.01, 10, SIZE * CHANNELS)}
    rewrites.equalize_linear(equal, -2, peak, power=0.5, bound=20.0)
    assert not np.allclose(equal.nodes[-1].weights, merged.nodes[-1].weights)
    pictures = np.random.default_rng(3).normal(size=(8, 1, SIZE, SIZE, 3)).astype(np.float32)
    np.testing.assert_allclose(outputs(equal, pictures), outputs(merged, pictures), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("at", [-1, -2, -3])
def test_a_tail_that_is_not_linear_or_of_other_layers_stays(at: int) -> None:
    for change in (
        {"slope": np.full(network().nodes[at].weights.shape[0], 0.5)},
        {"padding": (1, 0, 0, 0)},
        {"depthwise": at != -3},
    ):
        built = network()
        built.nodes[at] = replace(built.nodes[at], **change)
        with pytest.raises(ValueError, match="three"):
            rewrites.merge_tail(built)
