"""The command as a user runs it: exit codes, JSON, messages, no tracebacks, nothing that lets a caller climb."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cli_tools
import pytest
from cli_tools import FACESDK, at_prompts, portrait_file

from facesdk.cli import main

options, enrolled = cli_tools.options, cli_tools.enrolled


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
    assert facts["runtime"]["name"] == ("native" if facts["native"] else "litert-native")
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


def test_colour_is_for_terminals_that_want_it(enrolled, capsys, monkeypatch) -> None:
    command = ["verify", *enrolled, portrait_file("obama_2012")]
    assert main(command) == 0
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[32mmatch\x1b[0m" in at_prompts(command)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in at_prompts(command)[1]


def test_help_is_in_colour_at_a_terminal_where_the_extra_is_installed(monkeypatch) -> None:
    pytest.importorskip("rich_argparse", reason="the extra cli is not installed")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    text = at_prompts(["--help"])[1]
    assert "\x1b[" in text
    assert "verify" in text
    plain = subprocess.run([*FACESDK, "--help"], capture_output=True, text=True, check=True).stdout
    assert "\x1b[" not in plain
