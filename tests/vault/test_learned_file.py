"""What was learned, sealed beside a template: bytes, locks, kills, undone for good, and moved into its place."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learning_tools import NOW, SALT
from vault_tools import RULES, Bench, CountingKey, fresh, killed_at, make_record, unit_vectors

from facesdk.errors import (
    InputError,
    PassphraseRequiredError,
    Reason,
    VaultError,
    VaultIntegrityError,
)  # fmt: skip
from facesdk.vault import KeyFileKey, SampleSet
from facesdk.vault.keys.provider import KEY_SIZE, random_secret
from facesdk.vault.learned import open_learned, seal_learned

# --- the sealed file


def some_sets() -> list[SampleSet]:
    return [
        SampleSet("sface", ("ab" * 32,), (5, 6), np.stack(unit_vectors(2, 8))),
        SampleSet("joint", ("cd" * 32, "ef" * 32), (7,), np.stack(unit_vectors(1, 12)), complete=True),
    ]


def test_sets_come_back_as_they_were_sealed() -> None:
    with random_secret(KEY_SIZE) as kek:
        data = seal_learned(kek, some_sets(), user="alice", salt=SALT)
        found = open_learned(kek, data, user="alice", salt=SALT)
        for one, other in zip(found.sets, some_sets(), strict=True):
            assert (one.embedder, one.model_ids, one.times_unix_s, one.complete) == (
                other.embedder, other.model_ids, other.times_unix_s, other.complete
            )  # fmt: skip
            assert np.array_equal(one.vectors, other.vectors)
        assert found.of("joint", ("cd" * 32, "ef" * 32)) is found.sets[1]
        assert found.of("joint", ("cd" * 32,)) is None
        assert "0." not in repr(found.sets)
        found.close()
        assert found.sets == ()
        with pytest.raises(VaultIntegrityError, match="of an earlier template"):
            open_learned(kek, data, user="alice", salt=bytes(32))


def test_every_altered_byte_and_every_cut_is_refused() -> None:
    with random_secret(KEY_SIZE) as kek, random_secret(KEY_SIZE) as other:
        data = seal_learned(kek, some_sets(), user="alice", salt=SALT)
        assert open_learned(kek, data, user="alice", salt=SALT).sets
        for i in range(len(data)):
            with pytest.raises(VaultIntegrityError):
                open_learned(kek, data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :], user="alice", salt=SALT)
            with pytest.raises(VaultIntegrityError):
                open_learned(kek, data[:i], user="alice", salt=SALT)
        with pytest.raises(VaultIntegrityError):
            open_learned(kek, data, user="bob", salt=SALT)
        with pytest.raises(VaultIntegrityError):
            open_learned(other, data, user="alice", salt=SALT)


@pytest.mark.parametrize("seed", range(40))
def test_content_that_nothing_writes_is_refused(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealed by the right key, its numbers changed: an old fault of ours, or a hostile writer with the key."""
    from facesdk.vault import crypto, learned

    random, seal = np.random.default_rng(seed), crypto.seal

    def altering(key: Any, plaintext: Any, **options: Any) -> bytes:
        content = bytearray(memoryview(plaintext))
        if seed % 2:
            at = int(random.integers(0, 40))
            content[at] ^= 1 << int(random.integers(0, 8))
        else:
            content += bytes(4)
        return seal(key, bytes(content), **options)

    monkeypatch.setattr(learned.crypto, "seal", altering)
    with random_secret(KEY_SIZE) as kek:
        data = seal_learned(kek, some_sets(), user="alice", salt=SALT)
        with pytest.raises(VaultIntegrityError, match="not one that is written"):
            open_learned(kek, data, user="alice", salt=SALT)


@pytest.mark.parametrize(
    "change",
    [
        {"embedder": ""}, {"model_ids": ()}, {"times_unix_s": (1,)}, {"times_unix_s": (-1, 2)},
        {"vectors": np.zeros((2, 8))}, {"vectors": np.zeros(8, np.float32)}, {"vectors": np.zeros((0, 8), np.float32)},
        {"vectors": np.full((2, 8), np.nan, np.float32)},
    ],
)  # fmt: skip
def test_a_set_is_checked_when_made(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(some_sets()[0], **change)
    with random_secret(KEY_SIZE) as kek, pytest.raises(InputError):
        seal_learned(kek, some_sets() * 2, user="alice", salt=SALT)
    with random_secret(KEY_SIZE) as kek, pytest.raises(InputError, match="different models"):
        seal_learned(kek, some_sets()[:1] * 2, user="alice", salt=SALT)


# --- in a vault


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "key"))
    bench.enroll()
    return bench


def own_set(bench: Bench, *, seed: int = 2) -> Any:
    """What a change makes that learns one sample, turned by the template."""

    def change(template: Any) -> list[SampleSet]:
        turned = template.turned(unit_vectors(1, template.dimension, seed=seed))
        return [SampleSet(template.embedder, template.model_ids, (NOW,), np.stack(turned))]

    return change


def learn(bench: Bench, **options: Any) -> bool:
    return bench.vault.learn(
        "alice", own_set(bench, **options), generation=bench.generation(), camera="c", label="2e-05"
    )


def learned(bench: Bench) -> list[np.ndarray]:
    """The learned vectors, turned back."""
    with bench.vault.opened("alice", learned=True) as template:
        assert template.learned is not None
        found = [one for sets in template.learned.sets for one in template.turned(list(sets.vectors), inverse=True)]
        return [np.array(one) for one in found]


def files_of(bench: Bench) -> list[Path]:
    return [path for path in bench.folder.iterdir() if ".learned-" in path.name]


def events(bench: Bench) -> list[str]:
    report, entries, _ = bench.vault.audit("alice")
    assert report.problem is None
    return [entry.event.value for entry in entries]


def test_it_is_learned_logged_and_seen_by_who_asks(bench: Bench) -> None:
    assert learn(bench)
    assert np.allclose(learned(bench)[0], unit_vectors(1, 8, seed=2)[0], atol=1e-5)
    assert events(bench) == ["enrolled", "learned"]
    with bench.vault.opened("alice") as template:
        assert template.learned is None
    (path,) = files_of(bench)
    assert path.stat().st_mode & 0o777 == 0o600
    assert bench.attempt(True)
    bench.unlock()
    assert len(learned(bench)) == 1


def test_none_changes_nothing(bench: Bench) -> None:
    before = sorted((p.name, p.read_bytes()) for p in bench.folder.iterdir())
    assert not bench.vault.learn("alice", lambda _: None, generation=1, camera="c", label="2e-05")
    assert sorted((p.name, p.read_bytes()) for p in bench.folder.iterdir()) == before


def test_nothing_is_learned_of_another_template_or_behind_a_lock(bench: Bench) -> None:
    with pytest.raises(PassphraseRequiredError, match=Reason.CHANGED.value):
        bench.vault.learn("alice", own_set(bench), generation=2, camera="c", label="")
    bench.vault.lock("alice")
    with pytest.raises(PassphraseRequiredError):
        bench.vault.learn("alice", own_set(bench), generation=1, camera="c", label="")
    assert files_of(bench) == []
    bench.unlock()
    assert "learned" not in events(bench)


@pytest.mark.parametrize("damage", ["cut", "byte", "other mode", "folder", "other user"])
def test_a_damaged_file_is_of_no_use_and_harms_nothing(bench: Bench, damage: str) -> None:
    learn(bench)
    (path,) = files_of(bench)
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "byte":
        path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    elif damage == "other mode":
        path.chmod(0o644)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        bench.enroll(make_record("bob"))
        path.write_bytes(seal_learned_of(bench, "bob"))
    assert learned(bench) == []
    with bench.vault.opened("alice", learned=True) as template:
        assert template.learned is not None
        assert template.learned.problem
    assert bench.attempt(True)
    bench.unlock()
    assert bench.path().exists()


def seal_learned_of(bench: Bench, user: str) -> bytes:
    bench.vault.learn(user, own_set(bench), generation=bench.generation(user), camera="c", label="")
    (path,) = [p for p in bench.folder.iterdir() if p.name.startswith(f"{user}.learned-")]
    return path.read_bytes()


def test_a_new_passphrase_keeps_it_and_a_new_key_does_not(bench: Bench, tmp_path: Path) -> None:
    learn(bench)
    other = KeyFileKey.create(tmp_path / "other")
    bench.vault.rekey("alice", bench.key, other, rules=RULES)
    bench.unlock(key=other)
    assert np.allclose(learned(bench)[0], unit_vectors(1, 8, seed=2)[0], atol=1e-5)
    bench.vault.renew("alice", other, rules=RULES)
    assert learned(bench) == []
    assert files_of(bench) == []


def test_unlearned_is_unlearned_copies_too(bench: Bench) -> None:
    learn(bench)
    (path,) = files_of(bench)
    copy = path.read_bytes()
    bench.vault.unlearn("alice", bench.key, rules=RULES)
    assert learned(bench) == []
    assert files_of(bench) == []
    path.write_bytes(copy)
    path.chmod(0o600)
    assert learned(bench) == []
    assert bench.attempt(True)
    assert events(bench)[:3] == ["enrolled", "learned", "unlearned"]
    assert learn(bench)
    assert len(learned(bench)) == 1


def test_unlearned_is_unlearned_where_the_number_of_the_write_comes_again(bench: Bench) -> None:
    """Another provider's counter starts anew, and so does a backup that is put back."""
    while bench.generation() < 8:
        bench.vault.rekey("alice", bench.key, bench.key, rules=RULES)
    learn(bench)
    (path,) = files_of(bench)
    copy = path.read_bytes()
    bench.vault.unlearn("alice", bench.key, rules=RULES)
    counted = CountingKey()
    bench.vault.rekey("alice", bench.key, counted, rules=RULES)
    bench.unlock(key=counted)
    assert bench.generation() == 8
    path.write_bytes(copy)
    path.chmod(0o600)
    assert learned(bench) == []


def test_a_file_that_cannot_be_opened_stops_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from facesdk.vault.store import LockedFolder

    learn(bench)

    def refused(*_: Any) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LockedFolder, "read_learned", refused)
    assert learned(bench) == []
    bench.unlock()
    assert bench.attempt(True)
    bench.vault.unlearn("alice", bench.key, rules=RULES)


def test_what_cannot_be_replaced_is_told_before_it_is_logged(bench: Bench) -> None:
    learn(bench)
    (path,) = files_of(bench)
    path.unlink()
    path.mkdir()
    with pytest.raises(VaultError):
        learn(bench)
    assert events(bench) == ["enrolled", "learned"]
    path.rmdir()
    path.write_bytes(b"damaged")
    path.chmod(0o600)
    assert learn(bench)
    assert len(learned(bench)) == 1


def test_a_lock_while_it_learns_wins(bench: Bench) -> None:
    def change(template: Any) -> list[SampleSet]:
        made: list[SampleSet] = own_set(bench)(template)
        bench.open_keys.forget("alice", Reason.LOCKED)
        return made

    with pytest.raises(PassphraseRequiredError, match=Reason.LOCKED.value):
        bench.vault.learn("alice", change, generation=1, camera="c", label="")
    assert files_of(bench) == []


def test_removed_with_the_rest(bench: Bench) -> None:
    learn(bench)
    bench.vault.remove("alice")
    assert [p.name for p in bench.folder.iterdir() if p.name.startswith("alice")] == []


def test_enrolled_anew_nothing_of_it_is_left(bench: Bench) -> None:
    learn(bench)
    bench.enroll(make_record(seed=4), replace=True)
    assert learned(bench) == []
    assert files_of(bench) == []


def learning_more(folder: Path) -> None:
    own = Bench(folder, KeyFileKey(folder.parent / "vault.key"))
    own.unlock()
    own.vault.learn("alice", own_set(own, seed=5), generation=1, camera="c", label="")


def unlearning(folder: Path) -> None:
    vault, key = fresh(folder)
    vault.unlearn("alice", key, rules=RULES)


def moving(folder: Path) -> None:
    own = Bench(folder, KeyFileKey(folder.parent / "vault.key"))
    own.unlock()
    own.vault.learn("alice", lambda t: moving_set(t, complete=True), generation=1, camera="c", label="")
    moved(own)


@pytest.mark.parametrize("change", [learning_more, unlearning, moving])
def test_killed_at_any_point_all_opens_as_before_or_after(tmp_path: Path, change: Callable[[Path], None]) -> None:
    bench = Bench(tmp_path / "vault", KeyFileKey.create(tmp_path / "vault.key"))
    bench.enroll()
    learn(bench)
    shutil.copytree(tmp_path / "vault", tmp_path / "before")
    seen: Counter[tuple[str, int]] = Counter()
    for point in itertools.count():
        shutil.rmtree(tmp_path / "vault")
        shutil.copytree(tmp_path / "before", tmp_path / "vault")
        killed = killed_at(point, lambda: change(tmp_path / "vault"))
        after = Bench(tmp_path / "vault", bench.key)
        moved(after)
        with after.vault.opened("alice", learned=True) as template:
            assert template.learned is not None
            # A kill can leave a file that is of no use any more, and of no harm.
            assert template.learned.problem in (None, "what was learned is of an earlier template, or was altered")
            seen[template.embedder, sum(len(one.times_unix_s) for one in template.learned.sets)] += 1
        assert after.attempt(True)
        assert after.events()[-2:] == ["unlocked", "verified"]
        assert not [path for path in after.folder.iterdir() if path.name.startswith(".facesdk-tmp-")]
        if not killed:
            break
    assert point > 5
    # A move that is complete is made by whoever unlocks next.
    ends = {learning_more: {("joint", 1)}, unlearning: {("joint", 1), ("joint", 0)},
            moving: {("joint", 1), ("joint-2", 0)}}  # fmt: skip
    assert set(seen) == ends[change]


def moved(bench: Bench) -> None:
    """Unlocks, letting a complete set take the template's place."""
    bench.vault.unlock("alice", bench.key, rules=RULES, may_move=lambda *_: True)


def moving_set(template: Any, *, complete: bool) -> list[SampleSet]:
    vectors = template.turned(unit_vectors(3, 12, seed=6), dimension=12)
    return [SampleSet("joint-2", ("cd" * 32,), (NOW, NOW + 1, NOW + 2), np.stack(vectors), complete)]


@pytest.mark.parametrize("complete", [True, False])
def test_it_moves_with_the_key_and_not_before(bench: Bench, complete: bool) -> None:
    bench.vault.learn("alice", lambda t: moving_set(t, complete=complete), generation=1, camera="c", label="")
    assert bench.attempt(True)
    bench.unlock()  # by a program that lets nothing move
    with bench.vault.opened("alice") as template:
        assert template.embedder == "joint"
    moved(bench)
    with bench.vault.opened("alice", learned=True) as template:
        assert template.embedder == ("joint-2" if complete else "joint")
        if not complete:
            return
        record = make_record()
        assert (template.consent, template.created_unix_s, template.generation) == (
            record.consent, record.created_unix_s, 2
        )  # fmt: skip
        expected = template.turned(unit_vectors(3, 12, seed=6))
        assert np.allclose(np.stack(expected), template.samples, atol=1e-5)
        assert template.learned is not None
        assert template.learned.sets == ()
    assert bench.attempt(True)
    assert events(bench)[-3:] == ["updated", "unlocked", "verified"]
    assert files_of(bench) == []
    bench.unlock()
    assert events(bench)[-1] == "unlocked"


def test_samples_that_make_no_template_leave_the_one_that_is_there(bench: Bench) -> None:
    def change(template: Any) -> list[SampleSet]:
        one = template.turned(unit_vectors(1, 12, seed=6), dimension=12)[0]
        return [SampleSet("joint-2", ("cd" * 32,), (NOW, NOW), np.stack([one, -one]), complete=True)]

    bench.vault.learn("alice", change, generation=1, camera="c", label="")
    with pytest.warns(RuntimeWarning, match="'alice' stays with joint"):
        moved(bench)
    assert bench.attempt(True)
