"""Words and bytes: paths, locales and typed passphrases that are no text; what the command says, and what not."""

from __future__ import annotations

import argparse
import json
import os
import pty
import sys
import traceback
from pathlib import Path

import pytest
from cli_tools import facesdk, in_terminal, lines_of, portrait_file, secret_file

import facesdk as facesdk_package
from facesdk.cli import main, secrets
from facesdk.cli.parser import MODULES, make_parser
from facesdk.errors import UsageError

UTF8 = {"LC_ALL": "C.UTF-8"}
ASCII = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
LOCALES = pytest.mark.parametrize("locale", [UTF8, ASCII], ids=["utf-8", "ascii"])
NAMES = pytest.mark.parametrize("name", [b"buro", b"b\xc3\xbcro", b"b\xfcro"], ids=["text", "utf-8", "latin-1"])


@LOCALES
@NAMES
def test_every_path_may_be_any_bytes(tmp_path: Path, locale: dict[str, str], name: bytes) -> None:
    below = os.fsencode(tmp_path) + b"/" + name
    os.mkdir(below, 0o700)
    vault, words, moved = below + b"/vault", below + b"/words", below + b"/moved"
    secret_file(Path(os.fsdecode(words)))
    with_words = [b"--vault", vault, b"--passphrase-file", words]
    picture = portrait_file("obama_2005")
    for command in (
        [b"enroll", b"--allow-few-samples", b"--yes", b"--embedder", b"sface", *with_words, picture],
        [b"verify", *with_words, portrait_file("obama_2009")],
        [b"list", b"--vault", vault],
        [b"renew", *with_words],
        [b"rekey", *with_words, b"--to", b"key-file", b"--new-key-file", moved],
    ):
        done = facesdk(*command, "--json", env=locale)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
    with_key = [b"--vault", vault, b"--key-file", moved]
    for wrong in (
        [b"verify", *with_key, below + b"/none"],
        [b"enroll", b"--allow-few-samples", b"--yes", *with_key, below + b"/none"],
    ):
        done = facesdk(*wrong, env=locale)
        assert (done.returncode, b"Error" in done.stderr) == (2, False), done.stderr
        assert b"none" in done.stderr


@pytest.mark.usefixtures("keyring")
def test_every_path_may_be_any_bytes_in_the_keyring(tmp_path: Path) -> None:
    vault = os.fsencode(tmp_path) + b"/b\xfcro"
    words = secret_file(tmp_path / "words")
    enroll = [
        b"enroll",
        b"--allow-few-samples",
        b"--yes",
        b"--vault",
        vault,
        "--passphrase-file",
        words,
        portrait_file("obama_2005"),
    ]
    assert facesdk(*enroll, env=UTF8).returncode == 0
    key, moved = ["--passphrase-file", words], ["--recovery-passphrase-file", words, os.fsencode(tmp_path) + b"/\xfc"]
    for command in (
        ["unlock", *key], ["status"], ["audit"], ["lock"], ["panic"], ["export", *key, *moved], ["remove"],
        ["import", *key, *moved],
    ):  # fmt: skip
        done = facesdk(*command, b"--vault", vault, env=UTF8)
        assert done.returncode == 0, done.stderr


@LOCALES
@pytest.mark.parametrize("words", [b"caf\xc3\xa9 au lait", b"caf\xe9 au lait"], ids=["utf-8", "latin-1"])
def test_a_typed_passphrase_is_the_bytes_that_were_typed(tmp_path: Path, locale: dict[str, str], words: bytes) -> None:
    secret = secret_file(tmp_path / "words", words)
    vault = ["--vault", str(tmp_path / "vault")]
    enroll = facesdk(
        "enroll", "--allow-few-samples", "--yes", *vault, "--passphrase-file", secret, portrait_file("obama_2005")
    )
    assert enroll.returncode == 0, enroll.stderr
    for typed, expected in ((words, 0), (words[:-1], 4), (words + b"\xff", 4)):
        code, shown, _ = in_terminal(["renew", *vault], [typed + b"\n"], env=locale)
        assert code == expected, shown
        assert b"lait" not in shown
        assert b"codec" not in shown


def test_what_is_typed_at_enrollment_opens_from_a_file(tmp_path: Path) -> None:
    vault, typed = ["--vault", str(tmp_path / "vault")], b"\xe9\xff words of no encoding"
    answers = [b"yes\n", typed + b"\n", typed + b"\n"]
    code, shown, _ = in_terminal(
        ["enroll", "--allow-few-samples", *vault, portrait_file("obama_2005")], answers, env=ASCII
    )
    assert code == 0, shown
    assert facesdk("renew", *vault, "--passphrase-file", secret_file(tmp_path / "w", typed)).returncode == 0
    assert facesdk("renew", *vault, "--passphrase-file", secret_file(tmp_path / "w", typed[1:])).returncode == 4


@pytest.mark.parametrize(
    ("answers", "code", "says"),
    [
        ([b"y\xe9s\n"], 2, b"must agree"),
        ([b"\x04"], 2, b"nothing was given"),
        ([b"\x03"], 130, b"interrupted"),
        ([b"yes\n", b"\x04"], 2, b"nothing was given"),
        ([b"yes\n", b"half of it\x04\x04"], 2, b"nothing was given"),
        ([b"yes\n", b"\x03"], 130, b"interrupted"),
        ([b"yes\n", b"half of it\x03"], 130, b"interrupted"),
        ([b"yes\n", b"one of two\n", b"two of two\n"], 2, b"differ"),
        ([b"yes\n", b"\n", b"\n"], 2, b"must have"),
        ([b"yes\n", b"x" * 4095 + b"\n"], 2, b"longer than a terminal"),
    ],
)
def test_answers_that_are_none(tmp_path: Path, answers: list[bytes], code: int, says: bytes) -> None:
    """The terminal echoes again after each, nothing was stored, and nothing of the passphrase was shown."""
    command = ["enroll", "--allow-few-samples", "--vault", str(tmp_path / "vault"), portrait_file("obama_2005")]
    found, shown, echoes = in_terminal(command, answers)
    assert (found, echoes) == (code, True), shown
    assert says in shown
    assert b"Traceback" not in shown
    assert b" of " not in shown.partition(b"passphrase: ")[2]
    assert not (tmp_path / "vault").exists()


def test_the_prompt_is_seen_where_stderr_goes_to_a_file(tmp_path: Path) -> None:
    vault, words = ["--vault", str(tmp_path / "vault")], secret_file(tmp_path / "words")
    assert (
        facesdk(
            "enroll", "--allow-few-samples", "--yes", *vault, "--passphrase-file", words, portrait_file("obama_2005")
        ).returncode
        == 0
    )
    answer = Path(words).read_bytes() + b"\n"
    code, shown, _ = in_terminal(["renew", *vault], [answer], stderr=tmp_path / "log")
    assert (code, b"passphrase: " in shown) == (0, True)


@pytest.mark.parametrize(
    "option", [["--passphrase-file", "-"], ["--passphrase-fd", "0"], ["--passphrase-file", "/dev/tty"]]
)
def test_a_terminal_that_is_named_is_asked_without_echo(tmp_path: Path, option: list[str]) -> None:
    vault, words = ["--vault", str(tmp_path / "vault")], secret_file(tmp_path / "words")
    assert (
        facesdk(
            "enroll", "--allow-few-samples", "--yes", *vault, "--passphrase-file", words, portrait_file("obama_2005")
        ).returncode
        == 0
    )
    for typed, expected in ((Path(words).read_bytes(), 0), (b"other words to open it", 4)):
        code, shown, echoes = in_terminal(["renew", *vault, *option], [typed + b"\n"])
        assert (code, echoes, b"to open it" in shown) == (expected, True, False), shown


def test_each_passphrase_may_come_from_a_file_or_a_descriptor() -> None:
    (commands,) = [a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    options = {name: set(parser._option_string_actions) for name, parser in commands.choices.items()}
    assert len([1 for found in options.values() if "--passphrase-file" in found]) == 11
    for name, found in options.items():
        for option in [o for o in found if o.endswith("passphrase-file")]:
            assert option.replace("-file", "-fd") in found, name


def test_only_a_terminal_on_stdin_is_asked(tmp_path: Path) -> None:
    """A process may have a terminal that its stdin is not: its caller did not offer to answer."""
    vault, words = ["--vault", str(tmp_path / "vault")], secret_file(tmp_path / "words")
    assert (
        facesdk(
            "enroll", "--allow-few-samples", "--yes", *vault, "--passphrase-file", words, portrait_file("obama_2005")
        ).returncode
        == 0
    )
    done = facesdk("renew", *vault)
    assert done.returncode == 2
    assert lines_of(done)[0] == "error: no terminal to ask for the passphrase"
    assert "--passphrase-fd" in lines_of(done)[1]


@pytest.mark.parametrize("typed", [b"one of two\nsecond of two\n", b"one of two\n\x04", b"one of\x04\x04"])
def test_no_local_variable_of_a_failure_holds_what_was_typed(typed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    primary, secondary = pty.openpty()
    with os.fdopen(secondary, "rb", buffering=0) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(primary, typed)
        with pytest.raises(UsageError) as caught:
            secrets.ask_passphrase(new=True, options="--passphrase-file")
    os.close(primary)
    assert b"of two" not in str(caught.value).encode()
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    ours = [f for f in frames if f.f_code.co_filename.startswith(os.path.dirname(facesdk_package.__file__))]
    assert len(ours) >= 1
    assert not [value for frame in ours for value in frame.f_locals.values() if "one of" in repr(value)]


def test_a_weak_passphrase_is_warned_about_and_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weak, strong = secret_file(tmp_path / "weak", b"qwertz77"), secret_file(tmp_path / "strong", b"five random words")
    picture, vault = portrait_file("obama_2005"), ["--vault", str(tmp_path / "vault")]

    def warned(*command: str) -> bool:
        assert main([*command, *vault]) == 0
        said = capsys.readouterr()
        assert "qwertz" not in said.err + said.out
        assert " 8 " not in said.err
        lines = [line for line in said.err.splitlines() if line.startswith("warning: ")]
        assert all("tries 10 a second" in line for line in lines)
        return bool(lines)

    assert not warned("enroll", "--allow-few-samples", "--yes", "--passphrase-file", strong, picture)
    assert warned("rekey", "--passphrase-file", strong, "--new-passphrase-file", weak)
    assert not warned("verify", "--passphrase-file", weak, picture)
    assert warned("enroll", "--allow-few-samples", "--replace", "--yes", "--passphrase-file", weak, picture)
    moved = [str(tmp_path / name) for name in ("a", "b")]
    assert warned("export", "--passphrase-file", weak, "--recovery-passphrase-file", weak, moved[0])
    assert not warned("export", "--passphrase-file", weak, "--recovery-passphrase-file", strong, moved[1])
    assert not warned("rekey", "--passphrase-file", weak, "--new-passphrase-file", strong)
    assert main(["remove", *vault]) == 0
    capsys.readouterr()
    assert warned("enroll", "--allow-few-samples", "--yes", "--passphrase-file", weak, picture)
    assert main(["remove", *vault]) == 0
    capsys.readouterr()
    assert warned("import", "--passphrase-file", weak, "--recovery-passphrase-file", strong, moved[1])


# --- words of single commands


@pytest.fixture
def enrolled(tmp_path: Path) -> list[str]:
    options = ["--vault", str(tmp_path / "vault"), "--passphrase-file", secret_file(tmp_path / "words")]
    assert (
        main(["enroll", "--allow-few-samples", "--yes", "--embedder", "sface", *options, portrait_file("obama_2005")])
        == 0
    )
    return options


def test_only_a_match_ends_verify_with_zero(enrolled: list[str]) -> None:
    picture = portrait_file("obama_2009")
    assert main(["verify", *enrolled, picture]) == 0
    for words in (
        ["verify", "--help"],
        ["verify", "-h"],
        ["verify", *enrolled, picture, "-h"],
        ["verify", *enrolled, "-h", picture],
        ["verify", *enrolled, "--user", "-h", picture],
        ["verify", "nobody.jpg", "--help"],
        ["-h", "verify", picture],
        ["--help", "verify"],
    ):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2, words
    for words in (["--help"], ["unlock", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert not caught.value.code, words


def test_verify_json_has_the_guidance(enrolled, capsys, tmp_path) -> None:
    from PIL import Image

    assert main(["verify", *enrolled, "--json", portrait_file("obama_2009")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["guidance"] is None
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "grey.png")
    assert main(["verify", *enrolled, "--json", str(tmp_path / "grey.png")]) == 1
    assert json.loads(capsys.readouterr().out)["guidance"].startswith("Look at the camera")


def test_the_log_names_the_rules_once(enrolled, capsys, keyring) -> None:
    assert main(["unlock", *enrolled, "--rules", "strict"]) == 0
    capsys.readouterr()
    assert main(["audit", *enrolled, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["log"]
    assert [e["policy"] for e in entries if e["event"] == "unlocked"] == ["strict"]
    assert main(["remove", *enrolled[:2]]) == 0


def test_the_command_speaks_of_its_options(enrolled, capsys) -> None:
    for command in (["enroll", "--allow-few-samples", "--yes", *enrolled, portrait_file("obama_2009")],):
        assert main(command) == 2
        err = capsys.readouterr().err
        assert "hint: --replace" in err
        assert "replace=True" not in err


@pytest.mark.parametrize("command", ["enroll", "import"])
def test_what_is_replaced_is_opened_first(enrolled, capsys, tmp_path, command: str) -> None:
    other, good = secret_file(tmp_path / "other", b"other words for it"), enrolled[3]
    vault = ["--vault", enrolled[1]]
    if command == "enroll":
        last = ["--yes", "--allow-few-samples", portrait_file("sunak")]
    else:
        strange = ["--vault", str(tmp_path / "strange"), "--passphrase-file", other]
        assert main(["enroll", "--allow-few-samples", "--yes", *strange, portrait_file("sunak")]) == 0
        assert main(["export", *strange, "--recovery-passphrase-file", other, str(tmp_path / "moved")]) == 0
        last = ["--recovery-passphrase-file", other, str(tmp_path / "moved")]
    assert main([command, *vault, "--passphrase-file", good, *last]) == 2
    assert main([command, "--replace", *vault, "--passphrase-file", other, *last]) == 4
    assert main(["verify", *enrolled, portrait_file("obama_2009")]) == 0
    assert main([command, "--replace", *vault, "--passphrase-file", good, *last]) == 0
    assert main(["verify", *enrolled, portrait_file("obama_2009")]) == 1
    assert main(["verify", *enrolled, portrait_file("sunak")]) == 0


def test_usage_errors_do_not_repeat_what_may_be_a_passphrase(enrolled, capsys) -> None:
    secret = "hunter2 and more"
    for words in (
        ["unlock", *enrolled[:2], "--passphrase", secret],
        ["unlock", *enrolled[:2], f"--passphrase={secret}"],
        ["unlock", *enrolled[:2], f"-p{secret}"],
        ["unlock", *enrolled[:2], "--passphrase-fd", secret],
        ["unlock", *enrolled[:2], f"--passphrase-fd={secret}"],
        ["unlock", *enrolled[:2], secret],
    ):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
        said = capsys.readouterr()
        assert "hunter2" not in said.err + said.out, words
        assert "unlock" in said.err


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_a_closed_standard_descriptor_is_never_a_file_of_ours(enrolled: list[str], tmp_path: Path, closed: str) -> None:
    picture = portrait_file("obama_2009")
    command = ["renew", *enrolled]
    import subprocess

    from cli_tools import FACESDK

    for words, expected in ((command, 0), (["verify", *enrolled, picture], 0)):
        shell = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *FACESDK, *words]
        done = subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        assert done.returncode == expected, done.stderr


def test_a_command_loads_its_module_alone() -> None:
    everything = set(make_parser().commands)
    assert everything == {name for names in MODULES.values() for name in names}
    for module, names in MODULES.items():
        for name in names:
            assert make_parser([name, "--help"]).commands == names, module
    for words in ([], ["--help"], ["verfy"], ["--json", "verify"]):
        assert set(make_parser(words).commands) == everything
