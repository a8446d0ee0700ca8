"""Pictures to records: what was measured of the face, its features, and from these whether it would be used."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk import matching
from facesdk.capture import quality
from facesdk.capture.quality import QualityLimits
from facesdk.digest import sha256
from facesdk.engine.engine import Engine
from facesdk.engine.networks import load_manifest
from facesdk.engine.runtime import choose_runtime
from facesdk.errors import InputError
from facesdk.evaluation.cache import Cache
from facesdk.images import MAX_FILE_BYTES, decode_rgb
from facesdk.types import Pose, Quality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facesdk.evaluation.photos import Photos
    from facesdk.evaluation.workers import Workers

    Rows = NDArray[np.void]

QUALITY = tuple(field.name for field in fields(Quality))
POSE = tuple(field.name for field in fields(Pose))
FORMAT = 2
# Pictures that one job holds, and that a file of the cache gets: so many a killed run reads again.
_JOB, _FILE = 4, 32
_CHANGED = "changed while it was read"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Records:
    """One row for each picture of `places` (of those listed, the readable ones); unreadable: place to what is wrong."""

    places: NDArray[np.intp]
    rows: Rows
    unreadable: Mapping[int, str]


def dtype_of(embedder: str) -> np.dtype[Any]:
    """Of one record. refused: why a verification and an enrollment would not use it, empty where they would. sampled:
    whether features could be made; else what follows is zero."""
    import numpy as np

    manifest = load_manifest()
    features = sum(manifest.models[m].outputs[0]["shape"][-1] for m in manifest.embedder(embedder).models)
    return np.dtype([
        ("key", "V32"), ("faces", "<i4"), ("refused", "S80", (2,)), ("sampled", "?"), ("pose", "<f8", (len(POSE),)),
        ("quality", "<f8", (len(QUALITY),)), ("vector", "<f4", (int(features),)),
    ])  # fmt: skip


def made_by(embedder: str) -> str:
    """Names what records come from: models' bytes, embedder, every limit of quality, the form of the records."""
    limits = {**asdict(QualityLimits()), **{k: v for k, v in vars(quality).items() if k.isupper()}}
    parts = (str(FORMAT), embedder, *load_manifest().model_ids(embedder), json.dumps(limits, sort_keys=True))
    return sha256("\n".join(parts).encode()).hex()[:16]


def records_of(
    photos: Photos, places: Sequence[int], *, embedder: str, workers: Workers, cache: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> Records:  # fmt: skip
    """The records of the pictures at these places. With a cache folder, only new pictures are computed.

    Whatever ends it, a kill too, what was computed is in the cache but for the last few pictures.
    """
    import numpy as np

    dtype = dtype_of(embedder)
    keys, unreadable = _keys_of(photos, places)
    with Cache(cache, made_by(embedder), dtype) if cache else nullcontext() as store:
        parts = [store.load() if store else np.empty(0, dtype)]
        known = set(parts[0]["key"].tolist())
        missing = {key: str(photos.path(place)) for place, key in reversed(keys.items()) if key not in known}
        todo = sorted(missing.values())
        done = len(set(keys.values())) - len(todo)
        total = done + len(todo)
        progress(done, total)
        failed: dict[bytes, str] = {}
        for rows, wrong in _computed(todo, embedder=embedder, workers=workers, store=store):
            parts.append(rows)
            failed.update(wrong)
            done += len(rows) + len(wrong)
            progress(done, total)
    rows = np.concatenate(parts)
    at = {key: row for row, key in enumerate(rows["key"].tolist())}
    unreadable |= {place: failed.get(key, _CHANGED) for place, key in keys.items() if key not in at}
    found = [place for place, key in keys.items() if key in at]
    return Records(
        np.array(found, np.intp), rows[[at[keys[place]] for place in found]], dict(sorted(unreadable.items()))
    )


def _keys_of(photos: Photos, places: Sequence[int]) -> tuple[dict[int, bytes], dict[int, str]]:
    """The hash of each picture's bytes, and what is wrong with those that cannot be read."""
    keys, unreadable = {}, {}
    for place in places:
        try:
            keys[place] = sha256(_content(photos.path(place)))
        except InputError as error:
            unreadable[place] = str(error)
    return keys, unreadable


def _content(path: Path) -> bytes:
    """The bytes of a regular file. InputError where it is none, too large or cannot be read."""
    try:
        # Not blocking: a pipe without a writer would keep us waiting before its kind is known.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InputError("cannot be read (not a regular file)")
            data = file.read(min(found.st_size, MAX_FILE_BYTES) + 1)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"larger than {MAX_FILE_BYTES >> 20} MiB; give a smaller picture")
    return data


def _computed(
    paths: Sequence[str], *, embedder: str, workers: Workers, store: Cache | None
) -> Iterator[tuple[Rows, dict[bytes, str]]]:
    """What each job made, kept in the store as it comes; also what came before it was interrupted."""
    import numpy as np

    jobs = [paths[i : i + _JOB] for i in range(0, len(paths), _JOB)]
    waiting: list[Rows] = []
    try:
        for rows, wrong in workers.map(extract, embedder, jobs):
            waiting.append(rows)
            if store and sum(map(len, waiting)) >= _FILE:
                store.add(np.concatenate(waiting))
                waiting.clear()
            yield rows, wrong
    finally:
        if store and waiting:
            store.add(np.concatenate(waiting))


@cache
def _engine(embedder: str) -> Engine:
    """One for each process, by the processor alone: an accelerator's features are not the same to the bit."""
    return Engine(embedder, threads=1, runtime=choose_runtime().name)


def extract(embedder: str, paths: Sequence[str]) -> tuple[Rows, dict[bytes, str]]:
    """The records of these pictures, and by key what is wrong with those that are no pictures."""
    import numpy as np

    rows = np.zeros(len(paths), dtype_of(embedder))
    good, wrong = [], {}
    for number, path in enumerate(paths):
        key = b""
        try:
            data = _content(Path(path))
            key = sha256(data)
            _fill(rows[number], decode_rgb(data), _engine(embedder))
            rows[number]["key"] = key
            good.append(number)
        except InputError as error:
            wrong[key] = str(error).removeprefix("picture: ")
    return rows[good], wrong


def _fill(row: Any, frame: Any, engine: Engine) -> None:
    sample, faces = engine.observe(frame)
    row["faces"] = len(faces)
    for at, enrolling in enumerate((False, True)):
        refusal = quality.assess(sample, len(faces), QualityLimits(), enrolling=enrolling)
        # Without the numbers behind the colon, so that equal reasons are counted together.
        row["refused"][at] = b"" if refusal is None else refusal.reason.split(":")[0].encode()
    if sample is None or sample.turned:
        return
    features = engine.embed(sample)
    row["sampled"] = True
    row["pose"] = [getattr(sample.face.pose, name) for name in POSE]
    row["quality"] = [getattr(sample.quality, name) for name in QUALITY]
    row["vector"] = matching.vectors_of([features])[0]


def refusals(rows: Rows, *, enrolling: bool) -> list[str]:
    """Why each picture would not be used, "" for one that would."""
    return [reason.decode() for reason in rows["refused"][:, int(enrolling)].tolist()]
