"""A verification opens its template once: that it is the right one still, and what is left of it."""

from __future__ import annotations

import enum
import gc
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import portrait

import facesdk.verifier as verifier_module
from facesdk import Decision, Engine, FaceVerifier
from facesdk._core import Secret
from facesdk.errors import InputError, KeyUnavailableError, PassphraseRequiredError, Reason
from facesdk.types import Decision as Outcome
from facesdk.vault import KeyFileKey, Template, crypto
from facesdk.vault.audit.entry import AuditEvent, Entry


def locked_kib() -> int:
    found = re.search(r"VmLck:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


@pytest.fixture
def owner(tmp_path: Path, sface: Engine) -> FaceVerifier:
    KeyFileKey.create(tmp_path / "key")
    made = FaceVerifier(vault=tmp_path / "vault", key_file=tmp_path / "key", engine=sface)
    made.enroll("owner", [portrait(n) for n in ("obama_2005", "obama_2009")], allow_few_samples=True)
    return made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Template]:
    """The templates that were opened."""
    made: list[Template] = []
    real = Template.opened.__func__  # type: ignore[attr-defined]

    def opening(cls: type[Template], *arguments: object, **named: object) -> Template:
        made.append(real(cls, *arguments, **named))
        return made[-1]

    monkeypatch.setattr(Template, "opened", classmethod(opening))
    return made


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Has something done when the features of the next verification are made, before its attempt."""
    real = verifier_module.probe

    def probing(*arguments: object, **named: object) -> object:
        monkeypatch.setattr(verifier_module, "probe", real)
        found = real(*arguments, **named)  # type: ignore[arg-type]
        act()
        return found

    monkeypatch.setattr(verifier_module, "probe", probing)


def test_it_is_opened_once_and_wiped(owner: FaceVerifier, opened: list[Template]) -> None:
    for name, wanted in (("obama_2012", Decision.MATCH), ("sunak", Decision.NON_MATCH)):
        assert owner.verify("owner", portrait(name)).decision is wanted
    assert len(opened) == 2
    assert all(template._payload.closed for template in opened)


def test_a_changed_file_is_opened_again(
    owner: FaceVerifier, opened: list[Template], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    between(monkeypatch, lambda: owner.vault.renew("owner", KeyFileKey(tmp_path / "key"), rules=owner.policy.attempts))
    with pytest.raises(PassphraseRequiredError) as refused:
        owner.verify("owner", portrait("obama_2012"))
    assert refused.value.reason is Reason.CHANGED
    assert all(template._payload.closed for template in opened)


def test_an_earlier_owner_s_file_is_not_the_new_owner_s(
    owner: FaceVerifier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vault = tmp_path / "vault"
    before, head = (vault / "owner.face").read_bytes(), next(vault.glob("owner.head-*")).name

    def replaced() -> None:
        owner.remove("owner")
        owner.enroll("owner", [portrait("biden")], allow_few_samples=True)
        newest = next(vault.glob("owner.head-*"))
        (vault / "owner.face").write_bytes(before)
        shutil.copy(newest, vault / head)

    between(monkeypatch, replaced)
    with pytest.raises(PassphraseRequiredError) as refused:
        owner.verify("owner", portrait("obama_2012"))
    assert refused.value.reason is Reason.CHANGED


def test_who_keeps_an_error_keeps_no_locked_memory(owner: FaceVerifier) -> None:
    assert owner.verify("owner", portrait("obama_2012"))
    gc.collect()
    before, kept = locked_kib(), []
    for _ in range(20):
        try:
            owner.verify("owner", "nowhere.jpg")
        except InputError as error:
            kept.append(error)
    assert len(kept) == 20
    assert locked_kib() <= before


def test_without_memory_the_key_stays_open(owner: FaceVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    assert owner.verify("owner", portrait("obama_2012"))

    def none_left(_size: int) -> Secret:
        raise KeyUnavailableError("memory for keys cannot be protected: mlock: Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(crypto, "Secret", none_left)
        with pytest.raises(KeyUnavailableError, match="cannot be protected") as refused:
            owner.verify("owner", portrait("obama_2012"))
    assert not isinstance(refused.value, PassphraseRequiredError)
    assert owner.verify("owner", portrait("obama_2012"))


class Camera(str, enum.Enum):
    FRONT = "front"
    LONG = "door" * 16


def test_a_camera_s_name_of_another_class_is_logged_as_its_text(owner: FaceVerifier) -> None:
    for camera in Camera:
        assert owner.verify("owner", portrait("obama_2012"), camera=camera)
        entry = Entry(
            n=1, time_unix_s=2, boot_ns=3, event=AuditEvent.VERIFIED, outcome=Outcome.MATCH, camera=camera,
            policy="phone", prev="00" * 32,
        )  # fmt: skip
        assert json.loads(entry.line())["camera"] == camera.value
        assert entry.line() == json.dumps(entry.as_dict(), sort_keys=True, separators=(",", ":")).encode()
        assert Entry.parse(entry.line()) == entry
    assert owner.verify("owner", portrait("obama_2012"))
