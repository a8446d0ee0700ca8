"""Learning and moving with a face: of a sure owner alone, whatever else goes wrong."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import portrait
from learning_tools import person
from PIL import Image

from facesdk import Engine, FaceVerifier, Policy, learning
from facesdk.errors import (
    InputError,
    ModelIntegrityError,
    PassphraseRequiredError,
    Reason,
    VaultError,
)  # fmt: skip
from facesdk.learning import Rule
from facesdk.vault import KeyFileKey, SampleSet, Vault

# --- with a face


OBAMA = ("obama_2005", "obama_2009", "obama_2012")


def squeezed(name: str) -> np.ndarray:
    """The portrait narrower by three tenths: another look, no near copy of any portrait but its own."""
    image = Image.fromarray(portrait(name))
    return np.asarray(image.resize((7 * image.width // 10, image.height)))


class Days:
    """The wall clock, a day later at each look of the owner."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr("facesdk.verifier.time.time", lambda: self.now)

    def pass_(self) -> None:
        self.now += 86400


def test_a_face_is_learned_by_a_sure_match_alone(tmp_path: Path, key_file: Path, monkeypatch: Any) -> None:
    days = Days(monkeypatch)
    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, learn=True)
    verifier.enroll("owner", [portrait("obama_2005"), portrait("obama_2009")], allow_few_samples=True)

    def count() -> int:
        with verifier.vault.opened("owner", learned=True) as template:
            return len(learning.learned_of(template, now_unix_s=int(days.now)))

    assert not verifier.verify("owner", portrait("biden"))
    assert verifier.verify("owner", portrait("obama_2009"))  # an enrolled picture
    assert count() == 0
    real = Rule.of

    def surer(*arguments: Any, **options: Any) -> Rule:
        return replace(real(*arguments, **options), strong=0.99)

    with monkeypatch.context() as patch:
        patch.setattr(Rule, "of", surer)
        assert verifier.verify("owner", squeezed("obama_2012"))  # a match, but not as sure as that
        assert count() == 0
    sunglasses = squeezed("obama_2012").copy()
    eyes = Engine().sample(sunglasses).face.keypoints_px[:2].astype(int)
    (left, right), top = sorted(eyes[:, 0]), eyes[:, 1].min()
    reach = (right - left) // 2
    sunglasses[top - reach // 2 : top + reach // 2, left - reach : right + reach] = 10
    verifier.verify("owner", sunglasses)
    assert count() == 0  # what no enrollment takes
    assert verifier.verify("owner", squeezed("obama_2012"))
    assert count() == 1
    assert verifier.verify("owner", squeezed("obama_2012"))
    days.pass_()
    assert verifier.verify("owner", squeezed("obama_2012"))
    assert count() == 1  # the same look again


def test_what_was_learned_does_not_count_where_it_is_off(tmp_path: Path, key_file: Path, monkeypatch: Any) -> None:
    days = Days(monkeypatch)
    asked: list[int] = []
    real = Rule.of

    def spy(policy: Policy, embedder: str, enrolled: Any, learned: Any, **options: Any) -> Rule:
        asked.append(len(learned))
        return real(policy, embedder, enrolled, learned, **options)

    on = FaceVerifier(tmp_path / "vault", key_file=key_file, learn=True)
    on.enroll("owner", [portrait(name) for name in OBAMA])

    def change(template: Any) -> Any:
        turned = template.turned(person(1, seed=3))
        return [SampleSet(template.embedder, template.model_ids, (int(days.now),), np.stack(turned))]

    assert on.vault.learn("owner", change, generation=1, camera="c", label="")
    monkeypatch.setattr(Rule, "of", spy)
    assert on.verify("owner", portrait("obama_2009"))
    assert asked == [1, 1]
    asked.clear()
    assert FaceVerifier(tmp_path / "vault", key_file=key_file).verify("owner", portrait("obama_2009"))
    assert asked == [0]
    with pytest.raises(InputError, match="learn must be True or False"):
        FaceVerifier(tmp_path / "vault", key_file=key_file, learn=1)  # type: ignore[arg-type]


def test_sface_moves_to_joint_during_unlocks(tmp_path: Path, key_file: Path, monkeypatch: Any) -> None:
    days = Days(monkeypatch)
    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, migrate_to="joint")
    verifier.enroll("owner", [portrait(name) for name in OBAMA])
    with verifier.vault.opened("owner") as template:
        assert template.embedder == "sface"
    for look in (portrait("obama_2005"), portrait("obama_2009"), squeezed("obama_2012")):
        days.pass_()
        assert verifier.verify("owner", look)
    with verifier.vault.opened("owner", learned=True) as template:
        assert template.learned is not None
        assert [(one.embedder, len(one.times_unix_s), one.complete) for one in template.learned.sets] == [
            ("joint", 3, True)
        ]
    # The passphrase makes it so; everybody decides with the new embedder then, and still tells people apart.
    verifier.unlock("owner", key=KeyFileKey(key_file))
    with verifier.vault.opened("owner") as template:
        assert (template.embedder, template.count) == ("joint", 3)
    for one in (verifier, FaceVerifier(tmp_path / "vault", key_file=key_file)):
        assert one.verify("owner", portrait("obama_2012"))
        assert not one.verify("owner", portrait("biden"))
    with pytest.raises(InputError, match="embedder must be one of"):
        FaceVerifier(tmp_path / "vault", key_file=key_file, migrate_to="nobody")


def test_a_full_disk_does_not_undo_the_match_and_says_so(tmp_path: Path, key_file: Path, monkeypatch: Any) -> None:
    Days(monkeypatch)
    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, migrate_to="joint")
    verifier.enroll("owner", [portrait(name) for name in OBAMA])

    def full(*_: Any, **__: Any) -> None:
        raise VaultError("no space left on the device")

    monkeypatch.setattr(Vault, "learn", full)
    with pytest.warns(RuntimeWarning, match="the match stands, but not all of it was learned: no space left"):
        assert verifier.verify("owner", portrait("obama_2009"))

    def locked(*_: Any, **__: Any) -> None:
        raise PassphraseRequiredError(Reason.LOCKED)

    monkeypatch.setattr(Vault, "learn", locked)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert verifier.verify("owner", portrait("obama_2009"))


@pytest.mark.parametrize("fault", ["no model", "another's fault", "other embedder"])
def test_an_engine_that_fails_does_not_undo_the_match(tmp_path: Path, key_file: Path, fault: str) -> None:
    def make(embedder: str) -> Engine:
        if embedder == "sface" or fault == "other embedder":
            return Engine("sface")
        raise ModelIntegrityError("damaged") if fault == "no model" else RuntimeError("out of luck")

    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, learn=True, migrate_to="joint", make_engine=make)
    verifier.enroll("owner", [portrait(name) for name in OBAMA[:2]], allow_few_samples=True)
    with pytest.warns(RuntimeWarning, match="the match stands, but not all of it was learned"):
        assert verifier.verify("owner", squeezed("obama_2012"))
    with verifier.vault.opened("owner", learned=True) as template:  # its own embedder's sample was learned
        assert len(learning.learned_of(template, now_unix_s=int(time.time()))) == 1


def test_nothing_more_runs_where_nothing_is_due(tmp_path: Path, key_file: Path, monkeypatch: Any) -> None:
    made: list[str] = []

    def make(embedder: str) -> Engine:
        made.append(embedder)
        return Engine(embedder)

    verifier = FaceVerifier(tmp_path / "vault", key_file=key_file, learn=True, migrate_to="sface", make_engine=make)
    verifier.enroll("owner", [portrait(name) for name in OBAMA])
    monkeypatch.setattr(Vault, "learn", lambda *_, **__: pytest.fail("nothing was due"))
    assert verifier.verify("owner", portrait("obama_2009"))
    assert made == ["sface"]
