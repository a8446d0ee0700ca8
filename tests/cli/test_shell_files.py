"""The shells' completions and the manual page name every command and option, and the shells take them."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from importlib.resources import files

import pytest

from facesdk.cli import main
from facesdk.cli.parser import make_parser
from facesdk.cli.shell import FILES

FOLDER = files("facesdk.cli.completions")


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def options() -> set[str]:
    found = {option for parser in commands().values() for a in parser._actions for option in a.option_strings}
    return {option for option in found if option.startswith("--") and option != "--help"}


@pytest.mark.parametrize("name", [*FILES.values(), "facesdk.1"])
def test_every_command_and_option_is_named(name: str) -> None:
    text = FOLDER.joinpath(name).read_text(encoding="utf-8").replace("\\-", "-")
    assert len(commands()) > 20
    assert [word for word in sorted(commands()) if word not in text] == []
    # fish names options without their dashes.
    assert [word for word in sorted(options()) if word not in text and f"-l {word[2:]}" not in text] == []


@pytest.mark.parametrize("shell", FILES)
def test_the_command_prints_what_the_shell_takes(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert text == FOLDER.joinpath(FILES[shell]).read_text(encoding="utf-8").rstrip("\n") + "\n"
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_commands_options_and_choices() -> None:
    script = FOLDER.joinpath(FILES["bash"]).read_text(encoding="utf-8")

    def completed(*words: str) -> set[str]:
        line = f'COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; COMP_LINE="{" ".join(words)}"'
        end = "_shtab_facesdk; printf '%s\\n' \"${COMPREPLY[@]}\""
        done = subprocess.run(["bash", "-c", f"{script}\n{line}\n{end}"], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert "verify" in completed("facesdk", "ver")
    assert "--migrate-to" in completed("facesdk", "verify", "--mig")
    assert completed("facesdk", "unlock", "--rules", "s") == {"strict"}


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    from facesdk import __version__

    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"facesdk {__version__}\n"
