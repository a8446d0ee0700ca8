"""tools/at_terminal.sh, by which CI runs the suite as at a terminal; and what waits for nobody there."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PORTRAITS, portrait

from facesdk import FaceVerifier

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "at_terminal.sh"
EXAMPLE = ROOT / "examples" / "unlock_demo.py"


def at_terminal(*command: str, redirect: str = "", seconds: int = 60) -> tuple[int, str]:
    """Exit code and output of a command at a terminal where nobody types; 124 if it waited for somebody."""
    line = f"{shlex.join(command)} {redirect}"
    words = ["bash", str(TOOL), str(seconds), line]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def test_output_and_exit_code_are_those_of_the_command() -> None:
    code = "import sys; print('one\\ntwo'); print('three', file=sys.stderr); sys.exit(7)"
    assert at_terminal(sys.executable, "-c", code) == (7, "one\ntwo\nthree\n")


def test_it_is_a_terminal() -> None:
    code = "import os, sys; print([s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)]); os.open('/dev/tty', 2)"
    assert at_terminal(sys.executable, "-c", code) == (0, "[True, True, True]\n")


@pytest.mark.parametrize("redirect", ["", "< /dev/null"])
def test_what_asks_there_waits_and_is_ended(redirect: str) -> None:
    code, text = at_terminal(sys.executable, "-c", "import getpass; getpass.getpass()", redirect=redirect, seconds=2)
    assert code == 124
    assert text.startswith("Password: ")


def test_usage_is_said() -> None:
    assert subprocess.run(["bash", str(TOOL), "1"], capture_output=True).returncode == 2


def test_the_example_asks_nobody_where_its_input_is_no_terminal(tmp_path: Path, engine) -> None:
    """Though it could open the terminal, when the key is closed by what it runs itself."""
    from PIL import Image

    secret = tmp_path / "secret"
    secret.write_text("passphrase\n")
    secret.chmod(0o600)
    vault, frames = tmp_path / "vault", tmp_path / "frames"
    with FaceVerifier(vault, passphrase="passphrase", engine=engine) as verifier:
        verifier.enroll("owner", [portrait("obama_2005")], allow_few_samples=True)
    frames.mkdir()
    nobody = np.full_like(portrait("obama_2009"), 90)
    for number in range(90):
        shown = nobody if 15 <= number < 75 else np.roll(portrait("obama_2009"), number % 4, axis=1)
        Image.fromarray(shown).save(frames / f"{number:03d}.png", compress_level=0)
    options = ["--vault", str(vault), "--source", str(frames), "--liveness", "NONE"]
    options += ["--unlock", f"{sys.executable} -m facesdk lock --vault {vault}"]
    with_key = [sys.executable, str(EXAMPLE), *options, "--passphrase-file", str(secret)]
    code, text = at_terminal(*with_key, redirect="< /dev/null")
    assert code == 0, text
    assert "passphrase_required" in text
    code, text = at_terminal(sys.executable, str(EXAMPLE), *options, redirect="< /dev/null")
    assert code == 1
    assert "give --passphrase-file" in text


@pytest.mark.parametrize("command", ["enroll", "unlock", "renew", "export"])
def test_a_command_asks_nobody_where_its_input_is_no_terminal(command: str, tmp_path: Path) -> None:
    words = {
        "enroll": ["--yes", "--allow-few-samples", str(PORTRAITS / "sunak.jpg")],
        "export": [str(tmp_path / "exported")],
    }.get(command, [])
    vault = ["--vault", str(tmp_path / "vault")]
    code, text = at_terminal(sys.executable, "-m", "facesdk", command, *vault, *words, redirect="< /dev/null")
    assert code in (2, 3), text
    assert any(line.startswith("error: ") for line in text.splitlines())
