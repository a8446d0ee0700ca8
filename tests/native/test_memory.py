"""What the process and the machine do with memory that holds keys."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fork_tools import in_child

from facesdk.vault.memory import protect_process, unencrypted_swap

HEADER = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def dumpable() -> int:
    import ctypes

    return int(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE


def test_a_protected_process_leaves_no_core_and_cannot_be_read() -> None:
    import resource

    def child() -> bool:
        if dumpable() != 1:
            return False
        protect_process()
        return dumpable() == 0 and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)

    assert in_child(child) == 0
    assert dumpable() == 1


@pytest.mark.parametrize("words", [["-m", "facesdk", "list", "--vault", "none"]])
def test_the_command_protects_itself(words: list[str], tmp_path: Path) -> None:
    site = tmp_path / "sitecustomize.py"
    site.write_text(
        "import atexit, ctypes, sys\n"
        "atexit.register(lambda: print('dumpable', ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), file=sys.stderr))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert "dumpable 0" in done.stderr
    plain = subprocess.run([sys.executable, "-c", ""], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert "dumpable 1" in plain.stderr


# --- swap


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    proc, sys_ = tmp_path / "proc", tmp_path / "sys"
    proc.mkdir()
    sys_.mkdir()
    (proc / "swaps").write_text(HEADER)
    return proc, sys_


def swap_on(machine: tuple[Path, Path], *names: str) -> list[str]:
    proc, sys_ = machine
    lines = "".join(f"{name}\tpartition\t1000\t0\t-2\n" for name in names)
    (proc / "swaps").write_text(HEADER + lines)
    return unencrypted_swap(proc=proc, sys=sys_)


def device_of(machine: tuple[Path, Path], path: Path) -> Path:
    number = path.stat().st_dev
    folder = machine[1] / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_no_swap_is_none(machine: tuple[Path, Path]) -> None:
    assert swap_on(machine) == []


def test_a_plain_disk_is_named(machine: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "swapfile"
    file.touch()
    device_of(machine, file)
    assert swap_on(machine, str(file)) == [str(file)]


def test_dm_crypt_is_not(machine: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "swapfile"
    file.touch()
    folder = device_of(machine, file)
    (folder / "dm").mkdir()
    (folder / "dm" / "uuid").write_text("CRYPT-LUKS2-0123-swap\n")
    assert swap_on(machine, str(file)) == []
    (folder / "dm" / "uuid").write_text("LVM-0123\n")
    assert swap_on(machine, str(file)) == [str(file)]
    below = folder / "slaves" / "dm-0" / "dm"
    below.mkdir(parents=True)
    (below / "uuid").write_text("CRYPT-LUKS2-0123-disk\n")
    assert swap_on(machine, str(file)) == []
    (folder / "slaves" / "sda2").mkdir()
    assert swap_on(machine, str(file)) == [str(file)]


def test_zram_is_memory_unless_a_disk_is_behind_it(machine: tuple[Path, Path]) -> None:
    folder = machine[1] / "block" / "zram0"
    folder.mkdir(parents=True)
    (folder / "backing_dev").write_text("none\n")
    assert swap_on(machine, "/dev/zram0") == []
    (folder / "backing_dev").write_text("/dev/sda3\n")
    assert swap_on(machine, "/dev/zram0") == ["/dev/zram0"]


def test_what_cannot_be_looked_at_is_named(machine: tuple[Path, Path]) -> None:
    assert swap_on(machine, "/nowhere/swap\\040file") == ["/nowhere/swap file"]


def test_status_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from facesdk.cli import main
    from facesdk.vault import memory

    for found, shown in (([], False), (["/dev/sda2"], True)):
        monkeypatch.setattr(memory, "unencrypted_swap", lambda found=found: found)
        assert main(["status", "--vault", str(tmp_path / "v")]) == 0
        assert ("/dev/sda2 is not known to be encrypted" in capsys.readouterr().out) is shown
