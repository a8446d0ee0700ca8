"""A template's life by the command: sealed, unlocked, moved, shown and removed, with what is asked at a terminal."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cli_tools
import pytest
from cli_tools import at_prompts, portrait_file
from places_tools import needs_keyring

from facesdk.cli import main
from facesdk.cli.state import enrollment_as_dict
from facesdk.errors import Reason
from facesdk.status import status_of
from facesdk.vault import KeyFileKey, ProcessOpenKeys, Vault, VaultFolder
from facesdk.vault.rules import PRESETS

options, enrolled = cli_tools.options, cli_tools.enrolled


def test_passphrase_file(tmp_path, capsys) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    options = ["--vault", str(tmp_path / "vault"), "--passphrase-file", str(secret)]
    assert main(["enroll", "--allow-few-samples", *options, portrait_file("obama_2012")]) == 0
    assert main(["verify", *options, portrait_file("obama_2009")]) == 0
    secret.write_text("battery staple\n")
    assert main(["verify", *options, portrait_file("obama_2009")]) == 4
    assert "battery" not in capsys.readouterr().err
    secret.chmod(0o644)
    assert main(["verify", *options, portrait_file("obama_2009")]) == 4


@pytest.mark.usefixtures("keyring")
def test_terminal_session_from_enroll_to_lock_does_not_echo(tmp_path) -> None:
    """A real terminal: consent, passphrase twice; then faces alone, until it is locked and unlocked once."""

    def facesdk(command: str, *words: str, answers: tuple[str, ...] = ()) -> tuple[int, str]:
        vault = ("--vault", str(tmp_path / "vault"))
        code, text = at_prompts([command, *vault, *words], *answers)
        assert "secret words" not in text
        assert "Traceback" not in text
        return code, text

    me, later = portrait_file("obama_2012"), portrait_file("obama_2009")
    twice = ("yes", "secret words", "secret words")
    assert facesdk("enroll", "--allow-few-samples", "--embedder", "sface", me, answers=twice)[0] == 0
    assert facesdk("verify", later)[0] == 0
    assert facesdk("lock")[0] == 0
    assert facesdk("verify", later)[0] == 4
    assert facesdk("unlock", answers=("wrong",))[0] == 4
    assert facesdk("unlock", answers=("secret words",))[0] == 0
    assert facesdk("verify", later)[0] == 0
    assert facesdk("verify", portrait_file("sunak"))[0] == 1
    assert "1 attempts did not match" in facesdk("status")[1]
    assert facesdk("lock")[0] == 0
    code, text = facesdk("verify", later)
    assert (code, "locked on request" in text) == (4, True)
    assert facesdk("unlock", "--rules", "strict", answers=("secret words",))[0] == 0
    for _ in range(3):
        assert facesdk("verify", portrait_file("sunak"))[0] == 1
    assert "too many attempts" in facesdk("status")[1]
    assert facesdk("verify", later)[0] == 4
    assert facesdk("unlock", answers=("secret words",))[0] == 0
    assert facesdk("panic")[0] == 0
    assert facesdk("verify", later)[0] == 4
    code, text = facesdk("audit", answers=())
    assert code == 0
    events = [line.split()[3] for line in text.splitlines() if "(" in line and line.split()[0].isdigit()]
    assert events == [
        "enrolled", "verified", "locked", "passphrase_refused", "unlocked", "verified", "verified", "locked",
        "unlocked", "verified", "verified", "verified", "locked_out", "unlocked", "panic",
    ]  # fmt: skip


def test_learned_moved_and_unlearned(enrolled, tmp_path, capsys) -> None:
    """Pictures that differ too little from the enrolled ones to be learned: then nothing is, and nothing is lost."""

    def contract() -> dict:
        with_key = Vault(VaultFolder(Path(enrolled[1])), ProcessOpenKeys())
        with_key.unlock("owner", KeyFileKey(enrolled[3]), rules=PRESETS["phone"])
        found = status_of(with_key, "owner").enrollment
        assert found is not None
        return enrollment_as_dict(found)

    assert main(["verify", *enrolled, "--learn", portrait_file("obama_2009")]) == 0
    assert (contract()["learned"], contract()["moving_to"]) == (0, {})
    assert main(["verify", *enrolled, "--migrate-to", "joint", portrait_file("obama_2009")]) == 0
    assert contract()["moving_to"] == {"joint": 1}
    assert "1 to move to joint" in contract()["text"]
    assert main(["verify", *enrolled, "--migrate-to", "nobody", portrait_file("obama_2009")]) == 2
    both = ["--migrate-to", "joint", "--embedder", "sface"]
    assert main(["verify", *enrolled, *both, portrait_file("obama_2009")]) == 2
    capsys.readouterr()
    assert main(["unlearn", *enrolled]) == 0
    assert "the enrolled samples alone count again" in capsys.readouterr().out
    assert contract()["moving_to"] == {}
    path = next(Path(enrolled[1]).glob("*.head-*"))
    damaged = path.with_name(path.name.replace(".head-", ".learned-"))
    damaged.write_bytes(b"nothing")
    damaged.chmod(0o600)
    assert "of no use: the file of learned samples is not one" in contract()["text"]
    assert main(["verify", *enrolled, "--learn", portrait_file("obama_2009")]) == 0


@needs_keyring
@pytest.mark.parametrize("command", ["renew", "unlearn"])
def test_after_a_template_was_sealed_anew_status_asks_for_the_passphrase(enrolled, capsys, command: str) -> None:
    assert main(["unlock", *enrolled]) == 0
    assert main([command, *enrolled]) == 0
    capsys.readouterr()
    assert main(["status", "--vault", enrolled[1], "--json"]) == 0
    owner = json.loads(capsys.readouterr().out)["users"]["owner"]
    assert (owner["state"], owner["why"]) == ("passphrase required", Reason.CHANGED.value)
    assert main(["lock", "--vault", enrolled[1]]) == 0


def test_rekey_renew_export_import_audit(enrolled, tmp_path, capsys) -> None:
    def secret(name: str) -> str:
        path = tmp_path / name
        path.write_text(f"words of {name}\n")
        path.chmod(0o600)
        return str(path)

    vault, picture = ["--vault", enrolled[1]], portrait_file("obama_2012")
    with_old, with_new = ["--passphrase-file", secret("old")], ["--passphrase-file", secret("new")]
    assert main(["rekey", *enrolled, "--new-passphrase-file", with_old[1]]) == 0
    assert main(["rekey", *vault, *with_old, "--new-passphrase-file", with_new[1]]) == 0
    assert main(["verify", *vault, *with_old, picture]) == 4
    assert main(["verify", *vault, *with_new, picture]) == 0
    assert main(["renew", *vault, *with_new]) == 0
    assert main(["verify", *vault, *with_new, picture]) == 0
    exported, recovery = str(tmp_path / "moved"), ["--recovery-passphrase-file", secret("recovery")]
    assert main(["export", *vault, *with_new, *recovery, exported]) == 0
    assert Path(exported).stat().st_mode & 0o777 == 0o600
    assert main(["export", *vault, *with_new, *recovery, exported]) == 2
    other = ["--vault", str(tmp_path / "other")]
    assert main(["import", *other, *with_old, "--recovery-passphrase-file", with_new[1], exported]) == 4
    assert main(["import", *other, *with_old, *recovery, exported]) == 0
    assert main(["verify", *other, *with_old, picture]) == 0
    capsys.readouterr()
    assert main(["audit", *vault, *with_new, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["sealed_head"] is True
    assert result["problem"] is None
    assert [e["event"] for e in result["log"]][:3] == ["enrolled", "rekeyed", "rekeyed"]
    log = next(Path(enrolled[1]).glob("*.audit"))
    log.write_bytes(log.read_bytes().replace(b'"match"', b'"no_face"', 1))
    assert main(["audit", *vault, *with_new, "--verify"]) == 6
    assert "BROKEN" in capsys.readouterr().out
    assert main(["verify", *vault, *with_new, picture]) == 6
    assert main(["audit", *vault, *with_new, "--restart"]) == 0
    assert main(["verify", *vault, *with_new, picture]) == 0


@pytest.mark.usefixtures("keyring")
def test_show_says_what_is_kept_of_one_person(enrolled, capsys) -> None:
    assert main(["show", "owner", "--vault", enrolled[1]]) == 0
    text = capsys.readouterr().out
    for words in ("consent   taken as given", "embedder  sface, 2 samples", "key       key file", "min_sharpness 20"):
        assert words in text
    assert main(["lock", "--vault", enrolled[1]]) == 0
    capsys.readouterr()
    assert main(["show", "--vault", enrolled[1]]) == 4
    assert "passphrase is required" in capsys.readouterr().err
    assert main(["show", *enrolled, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["user"], found["sealed_by"]) == (1, "owner", "key file")
    assert found["policy_floor"]["target_fmr"] == 2e-5
    assert abs(found["created_unix_s"] - time.time()) < 600
    assert main(["show", "nobody", "--vault", enrolled[1]]) == 3


def test_removing_asks_who_is_there_and_leaves_a_receipt(enrolled, tmp_path, capsys) -> None:
    vault = ["--vault", enrolled[1]]
    command = ["remove", *vault]
    code, text = at_prompts(command, "bob")
    assert (code, "another name was typed" in text) == (2, True)
    assert main(["list", *vault, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["users"] == ["owner"]
    receipt = tmp_path / "receipt.json"
    receipt.write_text("mine")
    assert main(["remove", *vault, "--receipt", str(receipt)]) == 2
    assert receipt.read_text() == "mine"
    code, text = at_prompts([*command, "--receipt", str(tmp_path / "new.json")], "owner")
    assert code == 0
    assert "receipt: key, template, learned samples, audit log destroyed at" in text
    found = json.loads((tmp_path / "new.json").read_text())
    assert (found["schema"], found["removed"]) == (1, "owner")
    assert not list(Path(enrolled[1]).glob("owner*"))
    assert main(["remove", *vault, "--yes"]) == 3
