"""The networks themselves, where their files are: FACESDK_PAD_WEIGHTS names the folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from slow_twin import classes

from facesdk.engine.optional.adding import add
from facesdk.engine.optional.catalogue import catalogue
from facesdk.engine.optional.golden import golden_crop, network_input
from facesdk.engine.optional.pth import read_state_dict
from facesdk.engine.optional.store import load
from facesdk.engine.runtime import choose_runtime, network_of
from facesdk.liveness.passive import Passive

FOLDER = os.environ.get("FACESDK_PAD_WEIGHTS", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="the networks' files are not part of the project: "
                                "FACESDK_PAD_WEIGHTS names a folder that has them")  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    add([Path(FOLDER) / known.source.file for known in catalogue().values()], folder)
    return folder


def test_they_become_the_bytes_of_the_list_and_are_found(kept: Path) -> None:
    for known in catalogue().values():
        assert (kept / known.model.file).stat().st_size == known.model.size
    assert Passive.load([kept]) is not None


def test_the_golden_answers_are_the_slow_twin_s() -> None:
    for known in catalogue().values():
        tensors = read_state_dict((Path(FOLDER) / known.source.file).read_bytes())
        for golden in known.golden:
            wanted = classes(tensors, network_input(golden_crop(golden.seed))[0])
            assert np.abs(wanted - golden.answer).max() < 1e-6


def test_fed_wrongly_they_answer_otherwise(kept: Path) -> None:
    """Divided by 255, or with red and blue exchanged, each golden answer is off by more than a fifth."""
    for known in catalogue().values():
        model = load(known, [kept])
        assert model is not None
        network = network_of(choose_runtime(), known.model, model)
        for golden in known.golden:
            crop = golden_crop(golden.seed)
            right, divided, exchanged = (
                float(network.run(np.ascontiguousarray(given))[0].ravel()[1])
                for given in (
                    network_input(crop),
                    network_input(crop) / np.float32(255),
                    network_input(crop[..., ::-1]),
                )
            )
            assert right == pytest.approx(golden.answer[1], abs=1e-4)
            assert abs(divided - right) > 0.2
            assert abs(exchanged - right) > 0.2
