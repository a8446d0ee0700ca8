"""The code blocks of the pages, and a folder, a terminal and a person for them to run with."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageEnhance

ROOT = Path(__file__).resolve().parents[2]
PORTRAITS = ROOT / "facesdk" / "portraits"
STAND_INS = Path(__file__).resolve().parent / "stand_ins"
PAGES = [
    ROOT / "README.md",
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if p.name in ("index.md", "start.md", "extend.md", "evaluate.md")),
    *sorted(p for name in ("guides", "concepts", "reference") for p in (ROOT / "docs" / name).rglob("*.md")),
]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
# Marks of commands that install: the gate and tools/install_paths.sh run those.
INSTALLS = {"demo-command", "test-command", "wheel-command"}
PASSPHRASE, BLOCK_S = "only you know this", 40


@dataclass(frozen=True)
class Block:
    """One code block. `notes`: the comments of the page that stand right before it."""

    page: str
    line: int
    language: str
    code: str
    notes: tuple[str, ...]

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    def told(self, name: str) -> list[str]:
        """What the notes that begin with `name:` say."""
        return [note.split(":", 1)[1].strip() for note in self.notes if note.startswith(f"{name}:")]

    @property
    def why_not(self) -> str | None:
        """Why it is not run, or None."""
        if INSTALLS & set(self.notes):
            return "it installs: the gate runs it"
        return next(iter(self.told("not run")), None)

    @property
    def tested(self) -> str:
        """The code as it runs here: with what the notes replace (`in the test: OLD => NEW`)."""
        code = self.code
        for change in self.told("in the test"):
            old, new = change.split(" => ")
            assert old in code, f"{self.where}: the block does not have {old!r}, which its note replaces"
            code = code.replace(old, new)
        return code


def blocks_of(path: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text, blocks = path.read_text(encoding="utf-8"), []
    for found in FENCE.finditer(text):
        before = re.search(r"((?:<!--(?:(?!-->).)*-->\s*)*)\Z", text[: found.start()], re.DOTALL)
        notes = tuple(COMMENT.findall(before[1])) if before else ()
        indent = len(found["indent"])
        code = "\n".join(line[indent:] for line in found["code"].split("\n"))
        line = text.count("\n", 0, found.start()) + 1
        blocks.append(Block(str(path.relative_to(ROOT)), line, found["language"], code, notes))
    return blocks


@dataclass
class Person:
    """Types what the command asks for, as the reader would."""

    last: bytes = b""
    answers: dict[bytes, str] = field(
        default_factory=lambda: {b"Type yes: ": "yes", b"passphrase: ": PASSPHRASE, b"[y/N] ": "y", b"(y/N) ": "y"}
    )

    def answer(self, said: bytes) -> bytes | None:
        """What is typed at the prompt that the output ends with."""
        if said.endswith(b"again: "):
            return self.last
        if named := re.search(rb"template of (\S+) for good\? Type the name: \Z", said):
            return named[1] + b"\n"
        for prompt, typed in self.answers.items():
            if said.endswith(prompt):
                self.last = typed.encode() + b"\n"
                return self.last
        return None


@dataclass
class Place:
    """A folder with photos, a home of its own and the command, where the blocks of one page run one after the other."""

    folder: Path

    def __post_init__(self) -> None:
        self.work, self.home, self.bin = (self.folder / name for name in ("work", "home", "bin"))
        for made in (self.work, self.home, self.bin):
            made.mkdir()
        self.home.chmod(0o700)
        for name, words in (("facesdk", "-m facesdk"), ("python", ""), ("python3", "")):
            script = self.bin / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            script.chmod(0o755)
        photos = {"me": ("obama_2005", "obama_2009", "obama_2012"), "anna": ("ardern_2018", "ardern_2022"),
                  "ben": ("macron_2014", "macron_2025"), "stranger": ("sunak",), "now": ("obama_2012",)}  # fmt: skip
        for person, names in photos.items():
            for number, name in enumerate(names, 1):
                to = f"{person}{number if len(names) > 1 else ''}.jpg"
                shutil.copy(PORTRAITS / f"{name}.jpg", self.work / to)
        for person in ("anna", "ben"):  # a third picture, with a shadow over one half of it
            with Image.open(self.work / f"{person}2.jpg") as image:
                half = image.convert("RGB").crop((0, 0, image.width // 2, image.height))
                image.paste(ImageEnhance.Brightness(half).enhance(0.45))
                image.save(self.work / f"{person}3.jpg")
        for person, names in photos.items():
            for number, name in enumerate(names, 1):
                to = self.work / "photos" / person / f"{number}.jpg"
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PORTRAITS / f"{name}.jpg", to)
        (self.work / "frames").mkdir()
        for number in range(10):
            shutil.copy(self.work / "now.jpg", self.work / "frames" / f"{number}.jpg")
        secret = self.home / "passphrase"
        secret.write_text(PASSPHRASE + "\n")
        secret.chmod(0o600)
        self.environment = {
            "HOME": str(self.home), "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{ROOT}:{STAND_INS}", "TERM": "dumb", "NO_COLOR": "1", "LANG": "C.UTF-8", "COLUMNS": "160",
            "PYTHONPYCACHEPREFIX": str(self.folder.parent / "pycache"),
        }  # fmt: skip

    def run(self, words: list[str]) -> tuple[int, str]:
        """Exit code and output of a command at a terminal where somebody answers."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            words,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self.work,
            env=self.environment,
            start_new_session=True,
        )
        os.close(theirs)
        person, said, answered, end = Person(), b"", 0, time.monotonic() + BLOCK_S
        try:
            while True:
                ready, _, _ = select.select([ours], [], [], 0.05)
                if ready:
                    try:
                        more = os.read(ours, 65536)
                    except OSError:  # the last one that had it open has gone
                        more = b""
                    if not more:
                        break
                    said += more
                    continue
                typed = person.answer(said) if len(said) > answered else None
                if typed is not None:
                    answered = len(said)
                    os.write(ours, typed)
                elif time.monotonic() > end:
                    os.killpg(process.pid, signal.SIGKILL)
                    raise AssertionError(f"still running after {BLOCK_S} s:\n{said.decode(errors='replace')}")
            return process.wait(timeout=BLOCK_S), said.decode(errors="replace").replace("\r\n", "\n")
        finally:
            os.close(ours)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def shell(self, code: str) -> tuple[int, str]:
        return self.run(["bash", "-euo", "pipefail", "-c", code])

    def python(self, code: str) -> tuple[int, str]:
        file = self.folder / "block.py"
        file.write_text(code, encoding="utf-8")
        return self.run([sys.executable, "-W", "error", str(file)])


def commands_of(session: str) -> list[tuple[str, list[str]]]:
    """The commands of a terminal session, each with the lines that it shows."""
    commands: list[tuple[str, list[str]]] = []
    for line in session.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif line.strip():
            commands[-1][1].append(line)
    return commands


def pattern_of(shown: str) -> str:
    """A line of the page as a pattern: numbers may be others, `...` stands for anything."""
    parts = (
        re.sub(r"\d+(?:[.,:-]\d+)*", r"[\\d.,:-]+", re.escape(part).replace(r"\-", "-")) for part in shown.split("...")
    )
    return ".*".join(re.sub(r"(?:\\ )+", r" +", part) for part in parts)


def check_output(shown: list[str], said: str) -> None:
    """That the command says what the page shows: every line, unless one of the page's is `...` alone."""
    lines = [line for line in said.splitlines() if line.strip()]
    if not shown:
        return
    at = 0
    for line in shown:
        if line.strip() == "...":
            continue
        found = next(
            (n for n, real in enumerate(lines[at:], at) if re.fullmatch(pattern_of(line.rstrip()), real.rstrip())), None
        )
        assert found is not None, f"the page shows\n  {line}\nbut the command says\n{said}"
        at = found + 1
    if "..." not in [line.strip() for line in shown]:
        assert len(lines) == len(shown), f"the page shows {len(shown)} lines, the command says\n{said}"
