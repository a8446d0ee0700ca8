"""The examples, as scripts, with a rendered person before their camera who does what their view shows."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import stage

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OWNER, STRANGER = "biden", "obama_2012"
COMES = [["", 1], [OWNER, 24]]  # long enough for a second try, and a session after one that came to nothing
PAHO = """
import json, os, types
CallbackAPIVersion = types.SimpleNamespace(VERSION2=2)
class Client:
    def __init__(self, version): self.said = [["made", version]]
    def __getattr__(self, name): return lambda *a, **k: self.note(name, *a, k)
    def note(self, *what):
        with open(os.environ["SAID"], "a") as file: file.write(json.dumps(what) + "\\n")
"""


@pytest.fixture(scope="module")
def vault_of_owner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage.enrolled(tmp_path_factory.mktemp("enrolled") / "vault", OWNER)


@pytest.fixture
def place(tmp_path: Path, vault_of_owner: Path) -> Path:
    """A folder with a vault, and with commands and modules that stand in for the device's."""
    shutil.copytree(vault_of_owner, tmp_path / "vault")
    for name in ("loginctl", "lock", "unlock"):
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/done\n')
        script.chmod(0o755)
    paho = tmp_path / "modules" / "paho" / "mqtt"
    paho.mkdir(parents=True)
    for folder in (paho, paho.parent):
        (folder / "__init__.py").touch()
    (paho / "client.py").write_text(PAHO)
    (tmp_path / "secret").write_text("passphrase\n")
    (tmp_path / "secret").chmod(0o600)
    return tmp_path


def start(place: Path, name: str, scenes: list[list[object]], *arguments: str, **more: object) -> subprocess.Popen[str]:
    environment = {
        **os.environ, "PATH": f"{place}/bin:/usr/bin:/bin", "SDL_VIDEODRIVER": "dummy", "SAID": str(place / "said"),
        "GPIOZERO_PIN_FACTORY": "mock", "GPIOZERO_MOCK_PIN_CLASS": "mockpwmpin", "TERM": "dumb",
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES.parent), str(place / "modules"), *sys.path]),
    }  # fmt: skip
    command = [sys.executable, stage.__file__, str(EXAMPLES / f"{name}.py"), json.dumps(scenes), *arguments]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen(command, env=environment, text=True, cwd=place, **options)


def ended(process: subprocess.Popen[str], typed: str | None = None) -> tuple[int, list[str], str]:
    """Exit code, lines of stdout, and stderr."""
    with process:
        try:
            out, err = process.communicate(typed, timeout=120)
        finally:
            process.kill()
    return process.returncode, (out or "").splitlines(), err or ""


def completed(kinds: list[str]) -> list[str]:
    """Without sessions that came to nothing: somebody whose attention lapses twice is asked again."""
    return [kind for kind in kinds if kind != "refused"]


def done(place: Path) -> list[str]:
    """What the stand-in commands were called with."""
    file = place / "done"
    return file.read_text().splitlines() if file.exists() else []


DEMO = ("--vault", "vault", "--passphrase-file", "secret", "--view", "text", "--lock", "lock", "--unlock", "unlock",
        "--liveness", "NONE")  # fmt: skip
LIVE = ("--view", "window", "--liveness", "RGB_CHALLENGE")


def test_the_demo_unlocks_for_the_owner_who_follows_the_dot_and_locks_when_he_leaves(place: Path) -> None:
    pytest.importorskip("pygame", reason="pygame-ce (extra window) is not installed")
    code, lines, err = ended(start(place, "unlock_demo", [*COMES, ["", 5]], *DEMO, *LIVE))
    assert code == 0, err
    assert completed([line.split()[0] for line in lines]) == ["arrived", "matched", "left"]
    assert done(place) == ["lock ", "unlock ", "lock ", "lock "], "at its start and its end too"


def test_the_demo_unlocks_for_nobody_else_and_for_no_lock_command_that_fails(place: Path) -> None:
    code, lines, _ = ended(start(place, "unlock_demo", [[STRANGER, 6]], *DEMO))
    assert code == 0
    assert [line.split()[0] for line in lines] == ["arrived", "refused"]
    assert done(place) == ["lock ", "lock "]
    code, lines, _ = ended(start(place, "unlock_demo", [[OWNER, 3]], *DEMO, "--lock", "false"))
    assert (code, lines) == (1, []), "what cannot lock does not begin"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_demo_ends_locked_when_a_signal_ends_it(place: Path, number: signal.Signals) -> None:
    process = start(place, "unlock_demo", [[OWNER, 3], ["still", 1]], *DEMO)
    _wait_for(process, "matched")
    process.send_signal(number)
    code, _, _ = ended(process)
    assert code == 128 + number
    assert done(place) == ["lock ", "unlock ", "lock "]


def test_the_demo_ends_locked_when_its_camera_or_its_terminal_is_gone(place: Path) -> None:
    code, _, err = ended(start(place, "unlock_demo", [[OWNER, 3], ["lost", 1]], *DEMO))
    assert code == 1
    assert "CameraError" in err
    assert done(place) == ["lock ", "unlock ", "lock "]
    (place / "done").unlink()
    reader, writer = os.pipe()
    process = start(place, "unlock_demo", [[OWNER, 3], ["", 5]], *DEMO, stdout=writer)
    os.close(writer)
    os.close(reader)  # nobody reads what it prints any more
    code, _, err = ended(process)
    assert code != 0
    assert "BrokenPipeError" in err
    assert done(place)[-1] == "lock "


def test_the_door_opens_for_three_seconds_and_lets_go_of_the_relay(place: Path) -> None:
    pytest.importorskip("gpiozero", reason="gpiozero (extra gpio) is not installed")
    (place / "modules" / "sitecustomize.py").write_text(
        "import gpiozero, sys, time\n"
        "for name in ('on', 'off', 'close'):\n"
        "    def told(self, name=name, real=getattr(gpiozero.OutputDevice, name)):\n"
        "        isinstance(self, gpiozero.PWMLED) or print(name, flush=True)\n"
        "        return real(self)\n"
        "    setattr(gpiozero.OutputDevice, name, told)\n"
        "sleep = time.sleep\n"
        "time.sleep = lambda s: print('slept', s, flush=True) if s == 3 else sleep(s)\n"
    )
    process = start(place, "door", [*COMES, ["still", 1]], "vault", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write("passphrase\n")
    process.stdin.flush()
    said = _wait_for(process, "slept")
    process.send_signal(signal.SIGTERM)
    code, lines, err = ended(process)
    said += [line for line in lines if line]
    assert code == 128 + signal.SIGTERM
    assert said[:2] == ["on", "slept 3.0"]
    assert said[2] == "off"
    assert said[-1] == "close"
    assert "matched: the face is the enrolled one" in err
    assert "score" not in err


def test_the_door_without_a_passphrase_lets_nobody_in(place: Path) -> None:
    pytest.importorskip("gpiozero", reason="gpiozero (extra gpio) is not installed")
    code, _, err = ended(start(place, "door", COMES, "vault"))
    assert code == 1
    assert "no passphrase" in err


def test_the_desk_is_locked_when_its_owner_leaves_or_the_camera_is_pulled_out(place: Path) -> None:
    code, lines, err = ended(start(place, "desk", [[OWNER, 3], ["", 31]], "vault"))
    assert code == 0, err
    assert [line.split()[0] for line in lines] == ["arrived", "matched", "left"]
    assert done(place) == ["loginctl lock-session"] * 2
    code, *_ = ended(start(place, "desk", [[OWNER, 3], ["lost", 1]], "vault"))
    assert code == 1
    assert len(done(place)) == 3


def test_the_kiosk_shows_the_page_and_hides_it(place: Path) -> None:
    pytest.importorskip("pygame", reason="pygame-ce (extra window) is not installed")
    code, lines, err = ended(start(place, "kiosk", [*COMES, ["", 4]], "vault", "owner"))
    assert code == 0, err
    assert completed([line.split()[0] for line in lines]) == ["arrived", "show", "hide", "hide"]


def test_the_kiosk_hides_the_page_when_a_signal_ends_it(place: Path) -> None:
    pytest.importorskip("pygame", reason="pygame-ce (extra window) is not installed")
    process = start(place, "kiosk", [*COMES, ["", 600]], "vault", "owner")
    _wait_for(process, "show")
    process.send_signal(signal.SIGTERM)
    _, lines, _ = ended(process)
    assert lines[-1] == "hide"


def test_mqtt_has_kind_and_time_and_nothing_of_a_face(place: Path) -> None:
    # text: whoever reads "turn to the left, far" turns, as with LEDs
    code, _, err = ended(start(place, "mqtt_event", [*COMES, ["", 6]], "vault", "broker.example"))
    assert code == 0, err
    calls = [json.loads(line) for line in (place / "said").read_text().splitlines()]
    assert [call[0] for call in calls[:3]] == ["tls_set", "connect", "loop_start"]
    sent = [json.loads(call[2]) for call in calls if call[0] == "publish"]
    assert completed([one["event"] for one in sent]) == ["arrived", "matched", "left"]
    assert all(set(one) == {"event", "time"} for one in sent)
    assert calls[-2][0] == "disconnect"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_an_example_is_short(file: Path) -> None:
    text = file.read_text()
    docstring = ast.get_docstring(ast.parse(text), clean=False)
    assert docstring
    lines = text.replace(docstring, "").splitlines()
    assert len([line for line in lines if line.strip() and not line.strip().startswith("#")]) < 50


def _wait_for(process: subprocess.Popen[str], word: str) -> list[str]:
    """The lines until one that begins with this."""
    assert process.stdout is not None
    lines, end_s = [], time.monotonic() + 100
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith(word):
            return lines
        assert time.monotonic() < end_s
    raise AssertionError(f"it ended without {word}: {lines} {process.stderr.read() if process.stderr else ''}")
