"""What the tests of the command share: it runs as a process, in a terminal, or where the kernel refuses some calls."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import pty
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import PORTRAITS
from vault_tools import fork

from facesdk.cli import main

FACESDK = [sys.executable, "-m", "facesdk"]
ROOT = Path(__file__).resolve().parents[2]
CALLS = {
    "x86_64": {"flock": 73, "fsync": 74, "keyctl": 250, "add_key": 248, "request_key": 249},
    "aarch64": {"flock": 32, "fsync": 82, "keyctl": 219, "add_key": 217, "request_key": 218},
}.get(platform.machine())


def portrait_file(name: str) -> str:
    return str(next(p for p in PORTRAITS.iterdir() if p.stem == name))


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    return ["--vault", str(tmp_path / "vault"), "--key-file", str(tmp_path / "key")]


@pytest.fixture
def enrolled(options: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    words = ["enroll", "--allow-few-samples", *options, "--embedder", "sface"]
    assert main([*words, portrait_file("obama_2005"), portrait_file("obama_2009")]) == 0
    capsys.readouterr()
    return options


def secret_file(path: Path, words: bytes = b"some words to open it") -> str:
    path.write_bytes(words)
    path.chmod(0o600)
    return str(path)


def facesdk(
    *words: str | bytes, env: dict[str, str] | None = None, **options: object
) -> subprocess.CompletedProcess[bytes]:
    """The command, run to its end. Its output is bytes, which need not be text."""
    return subprocess.run(
        [*FACESDK, *words], env={**os.environ, **(env or {})}, timeout=90, check=False,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )  # type: ignore[call-overload,no-any-return]  # fmt: skip


def lines_of(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """The lines on stderr that are error:, hint: or warning:."""
    text = done.stderr.decode("ascii", "backslashreplace")
    return [line for line in text.splitlines() if line.startswith(("error:", "hint:", "warning:"))]


def in_terminal(
    words: list[str], answers: list[bytes], *, env: dict[str, str] | None = None, stderr: Path | None = None
) -> tuple[int, bytes, bool]:
    """Exit code, what the terminal showed, and whether it echoes again at the end. One answer for each prompt."""
    import termios

    primary, secondary = pty.openpty()
    pid = fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.setsid()
            _control(secondary)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a suite that runs in the background may ignore it
            for number in range(3):
                os.dup2(secondary, number)
            if stderr is not None:
                os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT, 0o600), 2)
            os.closerange(3, 64)
            os.execve(sys.executable, [*FACESDK, *words], {**os.environ, **(env or {})})
        os._exit(99)
    shown, pending, end_s = b"", list(answers), time.monotonic() + 60
    code: int | None = None
    while code is None or select.select([primary], [], [], 0)[0]:
        if time.monotonic() > end_s:
            os.kill(pid, signal.SIGKILL)
        if select.select([primary], [], [], 0.05)[0]:
            shown += os.read(primary, 4096)
            if pending and shown.rstrip(b" ").endswith(b":"):
                os.write(primary, pending.pop(0))
                shown += b"\n"
        elif code is None:
            done, status = os.waitpid(pid, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if done else None
    echoes = bool(termios.tcgetattr(secondary)[3] & termios.ECHO)
    os.close(primary)
    os.close(secondary)
    return code, shown, echoes


def at_prompts(words: list[str], *answers: str) -> tuple[int, str]:
    """Exit code and what the terminal showed, as text; each answer is typed with a return behind it."""
    code, shown, _ = in_terminal(words, [f"{answer}\n".encode() for answer in answers])
    return code, shown.decode(errors="replace")


def _control(terminal: int) -> None:
    """Makes the terminal the one that ctrl-C and ctrl-D of this process come from."""
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def refusing(code: int, *calls: str) -> None:
    """From now on the kernel answers this errno to these calls, in this process and its children (seccomp)."""
    assert CALLS is not None
    load, equal, back = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return
    steps = [struct.pack("HBBI", load, 0, 0, 0)]
    for name in calls:
        steps += [struct.pack("HBBI", equal, 0, 1, CALLS[name]), struct.pack("HBBI", back, 0, 0, 0x50000 | code)]
    steps.append(struct.pack("HBBI", back, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(b"".join(steps))
    header = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(header), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
