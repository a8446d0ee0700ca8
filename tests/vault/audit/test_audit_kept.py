"""Failures are kept longest in the log: matches do not push them out, and what is let go is checked before."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from audit_tools import entries
from vault_tools import Bench, enrolled_bench

from facesdk.errors import (
    VaultIntegrityError,
)
from facesdk.types import Decision
from facesdk.vault.audit.log import AuditLog
from facesdk.vault.audit.verify import ProblemKind
from facesdk.vault.store import LockedFolder

SECOND_NS = 10**9


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return enrolled_bench(tmp_path)


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        LockedFolder, "log", lambda self, user, *, boot_ns: AuditLog(
            self.descriptor, user, boot_ns=boot_ns, max_segment=2000, keep=1
        ),
    )  # fmt: skip


def flood(bench: Bench, presences: int) -> None:
    """Matches, each of its own presence, by two cameras in turn."""
    for number in range(presences):
        bench.clock.turn(61)
        assert bench.vault.attempt("alice", lambda _: True, generation=1, camera="ab"[number % 2], label="")


@pytest.mark.usefixtures("small_segments")
def test_the_owners_matches_do_not_push_failures_out(bench: Bench) -> None:
    for _ in range(4):
        assert not bench.attempt(False)
    flood(bench, 100)
    found = entries(bench)
    assert [e.n for e in found[:4]] == [1, 2, 3, 4]
    assert {e.outcome for e in found[:4]} == {Decision.NON_MATCH}
    assert found[4].n > 20, "the matches between them are gone"
    assert len([p for p in os.listdir(bench.folder) if ".kept-" in p]) == 1


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("how", ["edited", "removed", "foreign"])
def test_kept_failures_are_vouched_for(bench: Bench, how: str) -> None:
    for _ in range(4):
        assert not bench.attempt(False)
    flood(bench, 100)
    assert entries(bench)
    (kept,) = bench.folder.glob("*.kept-*")
    if how == "edited":
        kept.write_bytes(kept.read_bytes().replace(b"non_match", b"match"))
    elif how == "removed":
        kept.unlink()
    else:
        kept.unlink()
        kept.symlink_to("/etc/hostname")
    problem = bench.vault.audit("alice", bench.key)[0].problem
    assert problem is not None
    assert problem.sealed
    kinds = {"edited": ProblemKind.EDITED, "removed": ProblemKind.MISSING_SEGMENT, "foreign": ProblemKind.FOREIGN_FILE}
    assert problem.kind is kinds[how]
    with pytest.raises(VaultIntegrityError, match="kept"):
        bench.unlock()


@pytest.mark.usefixtures("small_segments")
def test_kept_failures_have_a_bound_and_the_newest_stay(bench: Bench) -> None:
    for _ in range(12):
        assert not bench.attempt(False)
        flood(bench, 20)
    failures = [e.n for e in entries(bench) if e.is_failure]
    assert failures == sorted(failures)
    (kept,) = bench.folder.glob("*.kept-*")
    assert kept.stat().st_size <= 2000
    assert len(failures) >= 5


@pytest.mark.usefixtures("small_segments")
def test_removing_takes_the_kept_failures_along(bench: Bench) -> None:
    assert not bench.attempt(False)
    flood(bench, 100)
    bench.vault.remove("alice")
    assert sorted(os.listdir(bench.folder)) == [".lock", ".vault"]


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("how", ["cut", "removed", "older segment"])
def test_what_is_let_go_is_checked_before(bench: Bench, how: str) -> None:
    """Else an altered failure would be sealed as genuine by the next rotation."""
    for _ in range(4):
        assert not bench.attempt(False)
    flood(bench, 40)
    (kept,) = bench.folder.glob("*.kept-*")
    if how == "cut":
        kept.write_bytes(kept.read_bytes().split(b"\n")[0] + b"\n")
    elif how == "removed":
        kept.unlink()
    else:
        oldest = max(bench.folder.glob("alice.audit.[0-9]*"))
        oldest.write_bytes(oldest.read_bytes().replace(b'"camera":"a"', b'"camera":"z"'))
    with pytest.raises(VaultIntegrityError):
        flood(bench, 60)


@pytest.mark.usefixtures("small_segments")
def test_a_foreign_file_of_kept_failures_is_not_read(bench: Bench) -> None:
    for _ in range(4):
        assert not bench.attempt(False)
    flood(bench, 40)
    before = entries(bench)
    forged = [replace(e, outcome=Decision.MATCH).line() for e in before[:4]]
    planted = bench.folder / "alice.audit.kept-ffffffffffffffff"
    planted.write_bytes(b"\n".join(forged) + b"\n")
    planted.chmod(0o600)
    assert entries(bench) == before
