"""No exception, traceback, local variable or repr shows a passphrase, or keeps a key alive that was closed."""

from __future__ import annotations

import gc
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import portrait
from vault_tools import CHEAP, RULES, make_record

import facesdk
from facesdk import Engine, FaceVerifier, Policy
from facesdk._core import Secret
from facesdk.errors import FaceSdkError, LockedOutError
from facesdk.vault import KeyKind, PassphraseKey, ProcessOpenKeys, Vault, VaultFolder
from facesdk.vault.keys.passphrase import read_passphrase
from facesdk.vault.keys.tpm import TpmKey
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.rules import AttemptRules

PASSPHRASE = "correct horse battery \u00e9"
OURS = str(Path(facesdk.__file__).parent)


def frames_of(error: BaseException) -> Iterator[types.FrameType]:
    """The frames of our package in the tracebacks of an error, its causes and contexts."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename.startswith(OURS):
                yield frame


def shown_by(error: BaseException, secret: str) -> list[str]:
    """Where the secret, as text or as bytes, is in what an error reporter that records local variables would send."""
    forms = [secret, secret.encode().decode("latin-1"), repr(secret.encode())[2:-1], repr(secret)[1:-1]]
    found = [f"{f.f_code.co_qualname if hasattr(f.f_code, 'co_qualname') else f.f_code.co_name}: {name}"
             for f in frames_of(error) for name, value in f.f_locals.items()
             if any(form in repr(value) for form in forms)]  # fmt: skip
    chain: BaseException | None = error
    while chain is not None:
        found += [f"{type(chain).__name__}: its words" for form in forms if form in str(chain) or form in repr(chain)]
        found += [f"{type(chain).__name__}: its fields" for form in forms if form in repr(chain.__dict__)]
        chain = chain.__cause__ or chain.__context__
    return found


def test_the_search_finds_what_is_planted() -> None:
    def reader(passphrase: str) -> None:
        raise FaceSdkError("no")

    code = compile("def planted(passphrase):\n    raise ValueError('no')\n", OURS + "/planted.py", "exec")
    space: dict[str, Any] = {}
    exec(code, space)
    with pytest.raises(ValueError, match="no") as caught:
        space["planted"](PASSPHRASE)
    assert shown_by(caught.value, PASSPHRASE) == ["planted: passphrase"]
    with pytest.raises(ValueError, match="no") as caught:
        space["planted"](PASSPHRASE.encode())
    assert shown_by(caught.value, PASSPHRASE) == ["planted: passphrase"]


@pytest.fixture
def enrolled(tmp_path: Path) -> Path:
    folder = tmp_path / "vault"
    Vault(VaultFolder(folder), ProcessOpenKeys()).enroll(
        make_record("owner"), PassphraseKey("the right one", **CHEAP), replace=False, rules=RULES
    )
    return folder


CALLS: dict[str, Callable[[Path], object]] = {
    "unlock, nobody enrolled": lambda v: FaceVerifier(v / "no", passphrase="x").unlock("owner", passphrase=PASSPHRASE),
    "unlock, wrong": lambda v: FaceVerifier(v, passphrase="x").unlock("owner", passphrase=PASSPHRASE),
    "unlock, wrong user": lambda v: FaceVerifier(v, passphrase="x").unlock("../x", passphrase=PASSPHRASE),
    "unlock, too much": lambda v: FaceVerifier(v, passphrase="x").unlock(
        "owner", passphrase=PASSPHRASE, key=PassphraseKey("y", **CHEAP)
    ),
    "verifier, wrong policy": lambda v: FaceVerifier(v, passphrase=PASSPHRASE, policy=1e-4),  # type: ignore[arg-type]
    "verifier, wrong engine": lambda v: FaceVerifier(v, passphrase=PASSPHRASE, engine="sface"),  # type: ignore[arg-type]
    "verifier, wrong vault": lambda v: FaceVerifier(None, passphrase=PASSPHRASE),  # type: ignore[arg-type]
    "verifier, two keys": lambda v: FaceVerifier(v, passphrase=PASSPHRASE, key_file="k"),
    "verifier, too long": lambda v: FaceVerifier(v, passphrase=PASSPHRASE * 500),
    "verifier, no text": lambda v: FaceVerifier(v, passphrase=PASSPHRASE + "\udc80"),
    "verifier, own one wrong": lambda v: FaceVerifier(v, passphrase=PASSPHRASE).verify("owner", portrait("biden")),
    "key, wrong cost": lambda v: PassphraseKey(PASSPHRASE, memory_kib=1),
    "key, wrong kind": lambda v: PassphraseKey(PASSPHRASE, kind=KeyKind.TPM),
    "key, list": lambda v: PassphraseKey([PASSPHRASE]),  # type: ignore[arg-type]
    "TPM, wrong PCRs": lambda v: TpmKey(PASSPHRASE, pcrs=(99,)),
    "enroll, no face": lambda v: FaceVerifier(v / "new", passphrase=PASSPHRASE, engine=Engine("mobilefacenet")).enroll(
        "owner", portrait("biden")[:64, :64].copy(), allow_few_samples=True),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_no_local_variable_of_ours_has_the_passphrase(enrolled: Path, name: str) -> None:
    with pytest.raises(FaceSdkError) as caught:
        CALLS[name](enrolled)
    assert list(frames_of(caught.value)), "the error comes from our package"
    assert shown_by(caught.value, PASSPHRASE) == []


def test_no_local_variable_has_what_was_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text(PASSPHRASE * 400)
    path.chmod(0o600)
    with pytest.raises(FaceSdkError) as caught:
        read_passphrase(path)
    assert shown_by(caught.value, PASSPHRASE) == []


def test_an_error_that_is_kept_keeps_no_key_open(tmp_path: Path) -> None:
    """As loggers, sys.last_exc and error reporters keep them."""
    rules = AttemptRules(passphrase_every_s=3600, idle_s=None, free_attempts=1, first_delay_s=30, passphrase_after=10)
    verifier = FaceVerifier(
        tmp_path / "v",
        key=PassphraseKey("p" * 20, **CHEAP),
        policy=Policy(attempts=rules),
        engine=Engine("mobilefacenet"),
    )
    verifier.enroll("owner", portrait("obama_2012"), allow_few_samples=True)
    assert not verifier.verify("owner", portrait("sunak"))
    with pytest.raises(LockedOutError) as caught:
        verifier.verify("owner", portrait("sunak"))
    verifier.lock("owner")
    verifier.panic()
    secrets = [value for f in frames_of(caught.value) for value in f.f_locals.values() if isinstance(value, Secret)]
    held = [value for f in frames_of(caught.value) for value in f.f_locals.values() if isinstance(value, OpenKey)]
    assert held, "the frames of the attempt are in the traceback"
    assert all(one.kek.closed for one in held)
    assert all(secret.closed for secret in secrets)


def test_no_open_secret_is_left_after_lock(tmp_path: Path) -> None:
    """Every Secret that the operations made is closed, whatever they ended with."""
    vault = Vault(VaultFolder(tmp_path / "v"), ProcessOpenKeys())
    key = PassphraseKey("right", **CHEAP)
    gc.collect()
    before = {id(one) for one in gc.get_objects() if isinstance(one, Secret)}
    vault.enroll(make_record(), key, replace=False, rules=RULES)
    errors = []
    for call in (
        lambda: vault.unlock("alice", PassphraseKey("wrong", **CHEAP), rules=RULES),
        lambda: vault.attempt("alice", lambda _: 1 // 0, generation=1, camera="c", label=""),  # type: ignore[arg-type,return-value]
        lambda: vault.attempt("alice", lambda _: True, generation=9, camera="c", label=""),
        lambda: vault.rekey("alice", key, PassphraseKey("x", kind=KeyKind.RECOVERY, **CHEAP), rules=RULES),
    ):
        with pytest.raises((FaceSdkError, ZeroDivisionError)) as caught:
            call()
        errors.append(caught.value)
    vault.lock("alice")
    key.forget()
    left = [s for e in errors for f in frames_of(e) for s in f.f_locals.values() if isinstance(s, Secret)]
    assert left, "the tracebacks have secrets in them"
    assert [secret for secret in left if not secret.closed] == []
    assert before is not None


def test_features_do_not_leave_by_pickle() -> None:
    import pickle

    features = Engine("mobilefacenet").features(portrait("sunak"))
    with pytest.raises(TypeError):
        pickle.dumps(features)
