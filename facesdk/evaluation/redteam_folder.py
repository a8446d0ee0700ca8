"""The folder of a red-team test: recorded clips, a person's own files by species, results. What lies in it is hostile
until it was checked: links, files of other kinds, huge or damaged lines are errors that name them."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facesdk.camera.files import PICTURES
from facesdk.errors import InputError

MARK, CLIPS, FRAMES, RESULTS, REPORT = "redteam.json", "clips.jsonl", "clips", "results.jsonl", "report"
SIMULATED = "simulated"
LIVE, KNOWN_SPECIES = "live", ("live", "print", "bent", "phone", "tablet", "mask")
VIDEOS = (".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".webm")
MOST_FRAMES, MOST_CLIPS = 6000, 5000
MAX_LINE, MAX_FILE, MAX_PICTURE = 1 << 20, 256 << 20, 64 << 20  # bytes
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_OTHER = re.compile(r"other[:-]([a-z0-9][a-z0-9_-]{0,31})", re.ASCII)
_SEED = re.compile(r"[0-9a-f]{32}", re.ASCII)
_REPORT_FOLDERS = (REPORT, f"{REPORT}.partial", f"{REPORT}.old")


@dataclass(frozen=True)
class Clip:
    """What one clip is.

    Attributes:
        name: its own within the folder: clips/NAME of a recorded one, the path below the folder of another.
        species: what stood there; one of KNOWN_SPECIES, or other-NAME.
        person: who was shown, as the vault names them; empty where nobody said.
        camera: as the audit log names it; empty where nobody knows.
        simulated: rendered, not seen by a camera.
        challenge: what was shown while it was recorded; empty for a file of the person's own.
        seed: of that challenge's path.
        times_s: of each frame, from 0 on; None where the file itself or its frames' number says.
        prompts: where the dot was at each frame, as Prompt has it; None where nothing was shown.
        gray: its frames have no colour.
    """

    name: str
    species: str
    person: str = ""
    camera: str = ""
    simulated: bool = False
    challenge: str = ""
    seed: str = ""
    times_s: tuple[float, ...] | None = None
    prompts: tuple[tuple[float, float] | None, ...] = ()
    gray: bool = False

    @property
    def recorded(self) -> bool:
        """Whether `facesdk redteam record` made it, which knows what was shown meanwhile."""
        return self.times_s is not None


def checked_species(text: str) -> str:
    """The species' name in the folder. InputError for none."""
    if text in KNOWN_SPECIES:
        return text
    if found := _OTHER.fullmatch(text):
        return f"other-{found[1]}"
    raise InputError(
        f"{text!r:.80} is no species: {', '.join(KNOWN_SPECIES)} or other:NAME, with small letters and digits"
    )


def checked_person(text: str) -> str:
    """A person's name, or nothing. InputError."""
    if text and not NAME.fullmatch(text):
        raise InputError(f"a person's name has 1 to 64 letters, digits, dots, dashes and underscores, not {text!r:.80}")
    return text


def make_folder(path: Path) -> Path:
    """The folder to record into, made with mode 0700; InputError for one that is another's or that others can read."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path}: expected a folder, or nothing, and no link to one") from None
        if found.st_uid != os.geteuid():
            raise InputError(f"{path}: this folder is another user's", hint="name another folder") from None
        if found.st_mode & 0o077:
            raise InputError(f"{path}: others can look into this folder", hint=f"chmod 700 {path}") from None
        check_ours(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror})", hint="name another folder") from error
    mark(path)
    return path


def check_ours(path: Path) -> None:
    """InputError for a folder that holds anything but clips by species and what facesdk redteam wrote."""
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise InputError(f"{path}: expected a folder, and no link to one")
        names = os.listdir(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if MARK in names:
        return
    strange = [name for name in sorted(names) if name != SIMULATED and not is_species(name)]
    if strange:
        raise InputError(
            f"{path}: this is no folder of facesdk redteam: there is {strange[0]!r:.80} in it",
            hint="name a new folder, or one with nothing but a sub-folder for each species",
        )


def mark(path: Path) -> None:
    """Say that the folder is facesdk redteam's; nothing where that is said already."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write('{"schema": "facesdk-redteam/1"}\n')


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON objects; a last line that was not written to its end does not count.

    Nothing where there is no file. InputError for what is no such file.
    """
    content = read_regular(path, limit=MAX_FILE, missing=b"")
    rows = []
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        where = f"{path}:{number}"
        if len(line) > MAX_LINE:
            raise InputError(f"{where}: a line of more than {MAX_LINE >> 20} MiB is none of ours")
        try:
            row = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: no JSON ({str(error) or 'too deep'})") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: expected a JSON object, not {type(row).__name__}")
        rows.append(row)
        if len(rows) > 20 * MOST_CLIPS:
            raise InputError(f"{where}: more lines than any test has")
    return rows


def read_regular(path: Path, *, limit: int, missing: bytes | None = None) -> bytes:
    """The bytes of a regular file that is no link; `missing`, where that is given, if there is none. InputError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        if missing is not None:
            return missing
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: expected a regular file, and no link ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path}: expected a regular file")
    with open(descriptor, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InputError(f"{path}: larger than {limit >> 20} MiB")
    return content


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Add one object as a line that is whole or does not count, whenever this is killed."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "ab", buffering=0) as file:
        file.write((json.dumps(row, allow_nan=False) + "\n").encode())
        os.fsync(descriptor)


def drop_unfinished_line(path: Path) -> None:
    """Cut off a last line that was not written to its end."""
    content = read_regular(path, limit=MAX_FILE, missing=b"")
    if content and not content.endswith(b"\n"):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "wb"):
            os.ftruncate(descriptor, content.rfind(b"\n") + 1)


def clips_of(folder: Path) -> list[Clip]:
    """Every clip, recorded ones first, in the order of their names within each. InputError."""
    check_ours(folder)
    check_no_links(folder, (MARK, CLIPS, FRAMES, RESULTS, *_REPORT_FOLDERS))
    recorded = [_clip(row, f"{folder / CLIPS}:{number}") for number, row in enumerate(read_lines(folder / CLIPS), 1)]
    names = [clip.name for clip in recorded]
    if len(set(names)) != len(names):
        raise InputError(f"{folder / CLIPS}: two clips of one name")
    clips = [*recorded, *_own(folder, folder, simulated=False)]
    if (folder / SIMULATED).is_dir():
        check_no_links(folder, (SIMULATED,))
        clips += _own(folder, folder / SIMULATED, simulated=True)
    if len(clips) > MOST_CLIPS:
        raise InputError(f"{folder}: more than {MOST_CLIPS} clips")
    return clips


def check_no_links(folder: Path, names: tuple[str, ...]) -> None:
    """InputError where one of these is a link: what is written there would go elsewhere."""
    for name in names:
        if (folder / name).is_symlink():
            raise InputError(f"{folder / name}: a link leads out of the folder", hint="remove it")


def _own(folder: Path, where: Path, *, simulated: bool) -> Iterator[Clip]:
    """The files and folders that a person has put below a species' name."""
    for species in sorted(name for name in os.listdir(where) if is_species(name)):
        check_no_links(where, (species,))
        for entry in sorted(os.listdir(where / species)):
            path = where / species / entry
            if entry.startswith("."):
                continue
            check_no_links(where / species, (entry,))
            if not path.is_dir() and path.suffix.lower() not in VIDEOS:
                raise InputError(f"{path}: neither a video ({', '.join(VIDEOS)}) nor a folder of pictures")
            yield Clip(path.relative_to(folder).as_posix(), checked_species(species), simulated=simulated)


def pictures_of(path: Path) -> list[Path]:
    """The pictures of a folder in the order of their names. InputError."""
    try:
        names = sorted(name for name in os.listdir(path) if Path(name).suffix.lower() in PICTURES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not 1 <= len(names) <= MOST_FRAMES:
        raise InputError(f"{path}: expected 1 to {MOST_FRAMES} JPEG or PNG files, not {len(names)}")
    return [path / name for name in names]


def is_species(name: str) -> bool:
    """Whether this is a species as folders and results name it."""
    return name in KNOWN_SPECIES or bool(_OTHER.fullmatch(name) and name.startswith("other-"))


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _clip(row: dict[str, Any], where: str) -> Clip:
    """The clip of a line of CLIPS. InputError says which field is wrong."""

    def text(key: str, pattern: re.Pattern[str]) -> str:
        value = row.get(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InputError(f"{where}: {key} is {value!r:.80}, which record never writes")
        return value

    species, person = row.get("species"), row.get("person")
    if not isinstance(species, str) or not is_species(species):
        raise InputError(f"{where}: species is {species!r:.80}, which record never writes")
    if not isinstance(person, str) or (person and not NAME.fullmatch(person)):
        raise InputError(f"{where}: person is {person!r:.80}, which record never writes")
    if not all(isinstance(row.get(key), bool) for key in ("simulated", "gray")):
        raise InputError(f"{where}: simulated and gray must be true or false")
    times, prompts = _times(row.get("times_s"), where), row.get("prompts")
    if not isinstance(prompts, list) or len(prompts) != len(times):
        raise InputError(f"{where}: prompts must have a place for each of {len(times)} frames")
    return Clip(
        text("clip", NAME), species, person, text("camera", re.compile(r"[ -~]{0,64}")),
        row["simulated"], text("challenge", re.compile("dot|directions")), text("seed", _SEED), times,
        tuple(_place(prompt, where) for prompt in prompts), row["gray"],
    )  # fmt: skip


def _times(values: Any, where: str) -> tuple[float, ...]:
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_FRAMES or not all(map(_is_number, values)):
        raise InputError(f"{where}: times_s must be 1 to {MOST_FRAMES} numbers")
    if values[0] < 0 or any(b < a for a, b in itertools.pairwise(values)) or values[-1] > 600:
        raise InputError(f"{where}: times_s must rise from 0 to 600 seconds at most")
    return tuple(float(value) for value in values)


def _place(value: Any, where: str) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(_is_number(v) and -1 <= v <= 2 for v in value):
        raise InputError(f"{where}: a prompt must be null or two numbers")
    return float(value[0]), float(value[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12 \
        and math.isfinite(value)  # fmt: skip
