"""The command as a user runs it: exit codes, JSON, messages, no tracebacks, nothing that lets a caller climb."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import PORTRAITS
from places_tools import needs_keyring

from facesdk.cli import main
from facesdk.cli.state import enrollment_as_dict
from facesdk.errors import Reason
from facesdk.status import status_of
from facesdk.vault import KeyFileKey, ProcessOpenKeys, Vault, VaultFolder
from facesdk.vault.rules import PRESETS


def portrait_file(name: str) -> str:
    return str(next(p for p in PORTRAITS.iterdir() if p.stem == name))


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    return ["--vault", str(tmp_path / "vault"), "--key-file", str(tmp_path / "key")]


@pytest.fixture
def enrolled(options: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert (
        main(
            [
                "enroll",
                "--allow-few-samples",
                *options,
                "--embedder",
                "sface",
                portrait_file("obama_2005"),
                portrait_file("obama_2009"),
            ]
        )
        == 0
    )
    capsys.readouterr()
    return options


def test_enroll_verify_list_remove(options, capsys) -> None:
    assert main(["enroll", "--allow-few-samples", *options, "--user", "anna", portrait_file("ardern_2018")]) == 0
    out, err = capsys.readouterr()
    assert "enrolled anna" in out
    assert "encrypted template" in err
    assert Path(options[3]).stat().st_mode & 0o777 == 0o600
    assert main(["verify", *options, "--user", "anna", portrait_file("ardern_2022")]) == 0
    assert capsys.readouterr().out.startswith("match")
    assert main(["verify", *options, "--user", "anna", portrait_file("sunak")]) == 1
    assert capsys.readouterr().out.startswith("non_match")
    assert main(["list", "--vault", options[1], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "users": ["anna"]}
    assert main(["remove", "--vault", options[1], "--user", "anna"]) == 0
    assert main(["verify", *options, "--user", "anna", portrait_file("ardern_2022")]) == 3


def test_options_of_the_engine_go_with_the_templates_own_embedder(enrolled) -> None:
    assert main(["verify", *enrolled, "--threads", "2", portrait_file("obama_2012")]) == 0
    assert main(["verify", *enrolled, "--threads", "17", portrait_file("obama_2012")]) == 2


def test_verify_json_has_no_score(enrolled, capsys) -> None:
    for name, decision, code in (("obama_2012", "match", 0), ("sunak", "non_match", 1)):
        assert main(["verify", *enrolled, "--json", portrait_file(name)]) == code
        result = json.loads(capsys.readouterr().out)
        fields = {"schema", "user", "match", "decision", "reason", "guidance", "guidance_code", "elapsed_ms"}
        assert set(result) == fields
        assert (result["schema"], result["user"], result["match"]) == (1, "owner", code == 0)
        assert (result["guidance"], result["guidance_code"]) == (None, "none")
        assert result["decision"] == decision
        assert not any(character.isdigit() for character in result["reason"])


def test_errors_have_codes_hints_and_json(enrolled, capsys, tmp_path) -> None:
    picture = portrait_file("obama_2012")
    (vault, key) = enrolled[1], enrolled[3]
    assert main(["enroll", "--allow-few-samples", *enrolled, picture]) == 2
    assert "hint: --replace" in capsys.readouterr().err
    assert main(["verify", *enrolled, "--embedder", "joint", picture]) == 2
    assert "EngineMismatch" not in capsys.readouterr().err
    shutil.copy(key, tmp_path / "other")
    assert (
        main(
            [
                "enroll",
                "--allow-few-samples",
                "--vault",
                str(tmp_path / "v2"),
                "--key-file",
                str(tmp_path / "third"),
                picture,
            ]
        )
        == 0
    )
    assert main(["verify", "--vault", vault, "--key-file", str(tmp_path / "third"), "--json", picture]) == 4
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["error"] == "KeyUnavailableError"
    sealed = next(Path(vault).glob("*.face"))
    sealed.write_bytes(sealed.read_bytes()[:-1])
    assert main(["verify", *enrolled, picture]) == 6
    assert main(["verify", *enrolled, str(tmp_path / "missing.jpg")]) in (2, 6)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0 truncated", b"\x89PNG\r\n\x1a\n"])
def test_unreadable_pictures_are_usage_errors(enrolled, capsys, tmp_path, content) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(content)
    assert main(["verify", *enrolled, str(broken)]) == 2
    assert str(broken) in capsys.readouterr().err


def test_refused_samples_exit_with_one_and_say_why(options, capsys) -> None:
    assert main(["enroll", "--allow-few-samples", *options, portrait_file("obama_2012"), portrait_file("sunak")]) == 1
    assert "not the same person" in capsys.readouterr().err
    assert main(["list", "--vault", options[1], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "users": []}


def test_a_pipe_or_a_folder_as_picture_is_a_usage_error(enrolled, capsys, tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path, "/dev/zero"):
        assert main(["verify", *enrolled, str(path)]) == 2
        assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("stream", ["stdin", "stdout", "full"])
def test_closed_or_full_streams_end_without_a_traceback(enrolled, stream) -> None:
    command = [sys.executable, "-m", "facesdk", "verify", *enrolled, portrait_file("obama_2012")]
    if stream == "stdin":
        assert main(["lock", "--vault", enrolled[1]]) == 0
        command = [*command[:4], "--vault", enrolled[1], portrait_file("obama_2012")]
    redirect = {"stdin": "<&-", "stdout": ">&-", "full": "> /dev/full"}[stream]
    shell = ["sh", "-c", f'"$@" {redirect}', "sh", *command]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode == {"stdin": 4, "stdout": 0, "full": 70}[stream], done.stderr


def test_our_own_faults_exit_with_70(enrolled, capsys, monkeypatch) -> None:
    from facesdk.verifier import FaceVerifier

    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(FaceVerifier, "verify", broken)
    assert main(["verify", *enrolled, "--json", portrait_file("obama_2012")]) == 70
    assert json.loads(capsys.readouterr().out)["error"] == "ZeroDivisionError"


def test_without_a_home_folder_only_the_vault_is_missing(monkeypatch, capsys) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert main(["models"]) == 0
    assert main(["list"]) == 2
    assert "--vault" in capsys.readouterr().err


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
        code, text = _in_terminal([sys.executable, "-m", "facesdk", command, *vault, *words], list(answers))
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


def _in_terminal(command: list[str], answers: list[str]) -> tuple[int, str]:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    text, pending = "", list(answers)
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        text += data.decode(errors="replace")
        if pending and text.rstrip(" ").endswith((":", "yes:")):
            os.write(terminal, (pending.pop(0) + "\n").encode())
            text += "\n"
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def test_no_terminal_and_no_key_is_a_usage_error(enrolled) -> None:
    command = [sys.executable, "-m", "facesdk", "renew", "--vault", enrolled[1]]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--key-file" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_doctor_models_bench(enrolled, capsys) -> None:
    assert main(["lock", "--vault", enrolled[1]]) == 0
    capsys.readouterr()
    assert main(["status", "--vault", enrolled[1], "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["schema"] == 1
    assert status["users"]["owner"]["sealed_by"] == "key file"
    assert status["users"]["owner"]["state"] == "passphrase required"
    assert status["users"]["owner"]["rollback"].startswith("not protected")
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["runtime"]["name"] == "litert-native"
    assert facts["runtime"]["reason"]
    assert not facts["runtimes"]["tflite-runtime"]["usable"]
    assert main(["models", "--json"]) == 0
    assert all(row["ok"] for row in json.loads(capsys.readouterr().out)["models"])
    assert main(["bench", "--json", "--rounds", "5", "--embedder", "sface"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["pipeline_ms"] > 0
    assert result["bare_invoke_ms"] == pytest.approx(sum(result["invoke_ms"].values()), abs=0.01)
    assert set(result["invoke_ms"]) == {"blazeface_short_range", "face_mesh", "sface"}
    for command in ("status", "doctor", "models"):
        assert main([command]) == 0
    assert "no score" not in capsys.readouterr().out


def test_demo_passes_and_draws(tmp_path, capsys) -> None:
    from PIL import Image

    picture = tmp_path / "demo.png"
    assert main(["demo", "--picture", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "demo passed" in out
    assert out.count(" ms ") >= 12
    assert "MATCH" in out
    with Image.open(picture) as image:
        assert image.size[0] > 1000


def test_demo_says_json_and_names_a_picture_it_cannot_write(tmp_path, capsys) -> None:
    assert main(["demo", "--json", "--picture", str(tmp_path / "none" / "x.png")]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["passed"] is False
    assert any("cannot be written" in line for line in result["steps"])


def test_demo_without_picture_writes_nothing(tmp_path) -> None:
    command = [sys.executable, "-m", "facesdk", "demo", "--no-picture"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_unknown_command_exits_with_two() -> None:
    for words in (["nonsense"], [], ["verify"], ["identify", "a.jpg"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2


def test_few_pictures_are_refused_before_anything_is_asked_for(options: list[str], capsys) -> None:
    for pictures in (["obama_2005"], ["obama_2005", "obama_2009"]):
        assert main(["enroll", *options, *map(portrait_file, pictures)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert f"3 or more pictures were expected, {len(pictures)} came" in err
        assert "or give --allow-few-samples" in err
        assert "template" not in err


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
    command = [sys.executable, "-m", "facesdk", "remove", *vault]
    code, text = _in_terminal(command, ["bob"])
    assert (code, "another name was typed" in text) == (2, True)
    assert main(["list", *vault, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["users"] == ["owner"]
    receipt = tmp_path / "receipt.json"
    receipt.write_text("mine")
    assert main(["remove", *vault, "--receipt", str(receipt)]) == 2
    assert receipt.read_text() == "mine"
    code, text = _in_terminal([*command, "--receipt", str(tmp_path / "new.json")], ["owner"])
    assert code == 0
    assert "receipt: key, template, learned samples, audit log destroyed at" in text
    found = json.loads((tmp_path / "new.json").read_text())
    assert (found["schema"], found["removed"]) == (1, "owner")
    assert not list(Path(enrolled[1]).glob("owner*"))
    assert main(["remove", *vault, "--yes"]) == 3


def test_colour_is_for_terminals_that_want_it(enrolled, capsys, monkeypatch) -> None:
    command = [sys.executable, "-m", "facesdk", "verify", *enrolled, portrait_file("obama_2012")]
    assert main(command[3:]) == 0
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[32mmatch\x1b[0m" in _in_terminal(command, [])[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in _in_terminal(command, [])[1]


def test_help_is_in_colour_at_a_terminal_where_the_extra_is_installed(monkeypatch) -> None:
    pytest.importorskip("rich_argparse", reason="the extra cli is not installed")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    command = [sys.executable, "-m", "facesdk", "--help"]
    text = _in_terminal(command, [])[1]
    assert "\x1b[" in text
    assert "verify" in text
    plain = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "\x1b[" not in plain
