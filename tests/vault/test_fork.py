"""What a child after fork has of keys, verifiers and engines: nothing that works, said at once, and never a hang."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tpm_key_tools
from conftest import portrait
from faults.forgetting import OPERATIONS, PROVIDERS, Trial, in_a_child, record, under_a_forgetting_thread
from fork_tools import in_child

from facesdk import Engine, FaceVerifier
from facesdk.errors import ForkedError, PassphraseRequiredError, Reason
from facesdk.vault import PassphraseKey, ProcessOpenKeys, Vault, VaultFolder
from facesdk.vault.keys.provider import KeyProvider
from facesdk.vault.rules import PRESETS

CHEAP: dict[str, Any] = {"memory_kib": 19 * 1024, "passes": 2}
running, tpm = tpm_key_tools.running, tpm_key_tools.tpm


def raises(kind: type[Exception], call: Callable[[], object], **fields: object) -> bool:
    """Whether the call raises exactly this, with these fields."""
    try:
        call()
    except kind as error:
        return type(error) is kind and all(getattr(error, name) == value for name, value in fields.items())
    return False


# --- what is sealed in a child


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_a_child_seals_opens_with_no_other_key(tmp_path: Path, operation: str, provider: str) -> None:
    good = Trial(tmp_path / "good", operation, *PROVIDERS[provider](tmp_path))
    assert good.run()
    assert good.fault(True) == ""
    (tmp_path / "forked").mkdir()
    forked = Trial(tmp_path / "forked" / "vault", operation, *PROVIDERS[provider](tmp_path / "forked"))
    assert in_a_child(forked) is False
    assert forked.fault(False) == ""


@tpm_key_tools.needs_tpm
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_a_child_seals_in_a_tpm(tmp_path: Path, operation: str, tpm: Any) -> None:
    from facesdk.vault.keys.tpm import TpmKey

    def make(passphrase: str | bytes = "right") -> KeyProvider:
        return TpmKey(passphrase, tcti=tpm.tcti, **CHEAP)

    trial = Trial(tmp_path / "vault", operation, make, lambda: [make(bytes(5))])
    try:
        assert in_a_child(trial) is False
        assert trial.fault(False) == ""
        # The same provider works in the parent as ever.
        assert trial.run()
        assert trial.fault(True) == ""
    finally:
        trial.clear()


def test_a_child_can_seal_under_a_key_of_its_own(tmp_path: Path) -> None:
    def child() -> bool:
        vault = Vault(VaultFolder(tmp_path / "v"), ProcessOpenKeys())
        vault.enroll(record(), PassphraseKey("own", **CHEAP), replace=False, rules=PRESETS["phone"])
        return vault.attempt("owner", lambda _: True, generation=1, camera="c", label="")

    assert in_child(child) == 0


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_thread_that_forgets_the_key_meanwhile(tmp_path: Path, operation: str) -> None:
    """tools/race_forget.py makes thousands of these."""
    rng = random.Random(operation)
    for number in range(8):
        folder = tmp_path / str(number)
        folder.mkdir()
        trial = Trial(folder / "vault", operation, *PROVIDERS["passphrase"](folder))
        done = under_a_forgetting_thread(trial, within_s=0.05, rng=rng)
        assert trial.fault(done) == ""


# --- a verifier made before a fork


@pytest.fixture(scope="module")
def small() -> Engine:
    return Engine("mobilefacenet")


@pytest.fixture
def opened(tmp_path: Path, small: Engine) -> FaceVerifier:
    verifier = FaceVerifier(tmp_path / "vault", passphrase="some words here", engine=small)
    verifier.enroll("owner", [portrait("obama_2005"), portrait("obama_2009")], allow_few_samples=True)
    assert verifier.verify("owner", portrait("obama_2012"))
    return verifier


def test_an_opened_verifier_asks_for_the_passphrase(opened: FaceVerifier) -> None:
    frame = portrait("obama_2012")
    for call in (
        lambda: opened.verify("owner", frame),
        lambda: opened.unlock("owner"),
        lambda: opened.enroll("owner", frame, replace=True, allow_few_samples=True),
    ):
        assert in_child(lambda call=call: raises(PassphraseRequiredError, call, reason=Reason.FORKED)) == 0
    assert opened.verify("owner", frame)
    assert opened.users() == ["owner"]


def test_a_child_unlocks_anew_and_makes_its_own_engine(tmp_path: Path) -> None:
    verifier = FaceVerifier(
        tmp_path / "vault", key=PassphraseKey("words", **CHEAP), make_engine=lambda _: Engine("mobilefacenet")
    )
    frame = portrait("obama_2012")
    verifier.enroll("owner", [portrait("obama_2005"), portrait("obama_2009")], allow_few_samples=True)

    def child() -> bool:
        verifier.unlock("owner", key=PassphraseKey("words", **CHEAP))
        return bool(verifier.verify("owner", frame))

    assert in_child(child) == 0
    assert verifier.verify("owner", frame)


def test_a_child_locks_nothing_of_its_parent(opened: FaceVerifier) -> None:
    assert in_child(lambda: opened.vault.open_keys.forget_all(Reason.LOCKED) == 0) == 0
    assert opened.verify("owner", portrait("obama_2012"))


def test_a_lock_held_at_the_fork_ends_with_the_parent(opened: FaceVerifier) -> None:
    """The child has the descriptor of the vault's lock that another thread of the parent held; it must not keep it."""
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with opened.vault.folder.locked("hold it", user="owner"):
            held.set()
            go_on.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    go_on.set()
    thread.join()
    try:
        assert opened.verify("owner", portrait("obama_2012"))
    finally:
        os.close(writer)
        os.waitpid(child, 0)


# --- an engine made before a fork


def test_an_engine_says_so_at_once(small: Engine) -> None:
    frame = portrait("obama_2012")
    sample = small.sample(frame)
    assert sample is not None
    calls: list[Callable[[], object]] = [
        lambda: small.detect(frame),
        lambda: small.detect(frame, landmarks=True),
        lambda: small.observe(frame),
        lambda: small.features(frame),
        lambda: small.embed(sample),
        lambda: next(iter(small.networks().values()))(),
    ]
    for call in calls:
        call()
        assert in_child(lambda call=call: raises(ForkedError, call)) == 0
    assert small.features(frame) is not None


@pytest.mark.parametrize("threads", [1, 2])
def test_a_thread_inside_the_engine_does_not_hang_the_child(threads: int) -> None:
    engine, frame = Engine("mobilefacenet", threads=threads), portrait("obama_2012")
    stop = threading.Event()

    def detect() -> None:
        while not stop.is_set():
            engine.features(frame)

    busy = threading.Thread(target=detect)
    busy.start()
    try:
        for _ in range(8):
            assert in_child(lambda: raises(ForkedError, lambda: engine.detect(frame))) == 0
        assert in_child(lambda: Engine("mobilefacenet").features(frame) is not None) == 0
    finally:
        stop.set()
        busy.join()


def test_a_child_ends_without_waiting_for_threads_that_are_not_there() -> None:
    engine = Engine("mobilefacenet", threads=2)
    engine.features(portrait("obama_2012"))

    def child() -> bool:
        nonlocal engine
        del engine  # its destructor would wait for LiteRT's threads
        return True

    assert in_child(child) == 0


# --- multiprocessing, by every way to start


def _tries(verifier: FaceVerifier, frame: np.ndarray) -> str:
    try:
        return str(bool(verifier.verify("owner", frame)))
    except PassphraseRequiredError as error:
        return error.reason.name  # type: ignore[attr-defined]


def _put(queue: Any, verifier: FaceVerifier, frame: np.ndarray) -> None:
    queue.put(_tries(verifier, frame))


def test_multiprocessing_by_fork(opened: FaceVerifier) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_put, args=(queue, opened, portrait("obama_2012")))
    process.start()
    assert queue.get(timeout=60) == "FORKED"
    process.join(60)
    assert process.exitcode == 0


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_multiprocessing_that_pickles_is_refused_in_words(opened: FaceVerifier, method: str) -> None:
    context = multiprocessing.get_context(method)
    process = context.Process(target=_tries, args=(opened, portrait("obama_2012")))
    with pytest.raises(TypeError, match="stays in its process"):
        process.start()


def test_nothing_with_a_key_can_be_pickled(opened: FaceVerifier) -> None:
    with opened.vault._locked("look", "owner") as file, opened.vault._openings.held(file) as held:
        for what in (opened, opened._keys.of("owner"), opened._keys.of("owner")._secret, held, opened.vault):  # type: ignore[union-attr]
            with pytest.raises(TypeError):
                pickle.dumps(what)
