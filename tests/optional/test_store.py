"""Networks that a user adds: known, tried, kept whole, and looked at again before they run."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optional_tools import answer_of, tiny, with_stand_ins

from facesdk.digest import sha256
from facesdk.engine.optional import adding, catalogue, store
from facesdk.engine.optional.adding import TOLERANCE, add
from facesdk.engine.optional.catalogue import KnownNetwork, named
from facesdk.engine.optional.golden import SIDE, golden_crop, network_input
from facesdk.engine.optional.store import keep, kept, load, remove, user_folder, usual_folders
from facesdk.engine.runtime import choose_runtime, network_of
from facesdk.errors import InputError, ModelIntegrityError

NAME = "minifasnet_2_7"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    return with_stand_ins(tmp_path / "files", monkeypatch)


@pytest.fixture
def folder(tmp_path: Path, files: list[Path]) -> Path:
    """Where both networks were added."""
    add(files, tmp_path / "kept")
    return tmp_path / "kept"


@pytest.fixture
def known(files: list[Path]) -> KnownNetwork:
    return named(NAME)


def test_the_list_names_each_network_completely() -> None:
    assert set(catalogue.catalogue()) == {NAME, "minifasnet_4_0"}
    for entry in catalogue.catalogue().values():
        assert (entry.author, entry.model.licence) == ("Minivision", "Apache-2.0")
        assert len(entry.source.sha256) == len(entry.model.sha256) == 64
        assert entry.source.size > 0 < entry.model.size
        assert len(entry.golden) >= 3
        for golden in entry.golden:
            assert abs(sum(golden.answer) - 1) < 1e-5
            assert 0.1 < golden.answer[1] < 0.9, "an answer that is not certain shows small differences"


def test_a_list_that_cannot_be_read_is_an_error_of_the_models(tmp_path: Path) -> None:
    for content in (None, "format = 2\n[networks]\n", "format = ", "format = 1\n[networks.a]\nsize = 3\n"):
        place = tmp_path / str(len(os.listdir(tmp_path)))
        place.mkdir()
        if content is not None:
            (place / "optional.toml").write_text(content)
        with pytest.raises(ModelIntegrityError, match="list of optional models"):
            catalogue.catalogue(place)


def test_added_networks_are_found_and_answer(folder: Path, known: KnownNetwork) -> None:
    assert sorted(os.listdir(folder)) == ["minifasnet_2_7.tflite", "minifasnet_4_0.tflite"]
    model = load(known, [folder])
    assert model is not None
    (answer,) = network_of(choose_runtime(), known.model, model).run(network_input(golden_crop(1)))
    assert np.abs(answer.ravel() - answer_of(tiny(seed=0, kernel=5), 1)).max() < 1e-5
    assert kept(known, [folder]) == store.Kept(known, folder / known.model.file, "")


def test_nothing_is_kept_where_one_file_is_unknown(tmp_path: Path, files: list[Path]) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(files[0].read_bytes() + b"\0")
    with pytest.raises(InputError) as caught:
        add([files[0], other], tmp_path / "kept")
    assert "sha256" in caught.value.message
    for entry in catalogue.catalogue().values():
        assert entry.source.sha256 in str(caught.value)
        assert entry.source.file in str(caught.value)
    assert not (tmp_path / "kept").exists()


def test_what_is_no_file_is_refused(tmp_path: Path, files: list[Path]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    long = tmp_path / "long"
    with open(long, "wb") as file:
        file.truncate(1 << 34)
    for path, reason in (
        (tmp_path / "none", "No such file"), (tmp_path, "directory"), (pipe, "regular"), (Path("/dev/zero"), "regular"),
        (long, "more than"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=reason):
            add([path], tmp_path / "kept")


def test_a_result_of_other_bytes_is_not_kept(tmp_path: Path, files: list[Path], known: KnownNetwork) -> None:
    entry = replace(known, model=replace(known.model, sha256="0" * 64))
    with pytest.raises(ModelIntegrityError, match="is not kept"):
        adding.converted(entry, files[0].read_bytes())


@pytest.mark.parametrize("wrong", ["divided by 255", "red and blue exchanged", "another number", "NaN"])
def test_a_network_that_answers_otherwise_is_not_kept(
    wrong: str, tmp_path: Path, files: list[Path], known: KnownNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wrong == "divided by 255":
        monkeypatch.setattr(adding, "network_input", lambda crop: network_input(crop) / np.float32(255))
    elif wrong == "red and blue exchanged":
        monkeypatch.setattr(adding, "network_input", lambda crop: network_input(crop[..., ::-1]))
    else:
        by = 2 * TOLERANCE if wrong == "another number" else float("nan")
        last = replace(known.golden[-1], answer=(*known.golden[-1].answer[:2], known.golden[-1].answer[2] + by))
        changed = replace(known, golden=(*known.golden[:-1], last))
        monkeypatch.setattr(catalogue, "catalogue", lambda: {NAME: changed})
    with pytest.raises(ModelIntegrityError, match="answers otherwise"):
        add(files[:1], tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_the_input_is_blue_green_red_from_0_to_255() -> None:
    crop = np.zeros((SIDE, SIDE, 3), np.uint8)
    crop[3, 5] = 255, 100, 7
    seen = network_input(crop)
    assert (seen.dtype, seen.shape, seen.flags.c_contiguous) == (np.float32, (1, SIDE, SIDE, 3), True)
    assert seen[0, 3, 5].tolist() == [7, 100, 255]


def test_golden_pictures_stay_what_they_are() -> None:
    crop = golden_crop(2)
    assert (crop.dtype, crop.shape) == (np.uint8, (SIDE, SIDE, 3))
    assert np.ptp(crop, axis=(0, 1)).min() > 100
    assert not np.array_equal(crop, golden_crop(3))
    assert sha256(crop.tobytes()).hex() == "f935b601cc04540b421c81999b9ba14894b98b4af638cddcc685f825039944cc"


@pytest.mark.parametrize(
    "damage", ["flip", "cut", "longer", "link", "pipe", "folder", "group", "others", "open folder"]
)
def test_what_is_not_as_it_was_kept_does_not_run(damage: str, folder: Path, known: KnownNetwork) -> None:
    path = folder / known.model.file
    assert load(known, [folder]) is not None
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[5000] ^= 1
        path.write_bytes(data)
    elif damage in ("cut", "longer"):
        path.write_bytes(data[:-1] if damage == "cut" else data + b"x")
    elif damage in ("group", "others"):
        path.chmod(0o664 if damage == "group" else 0o646)
    elif damage == "open folder":
        folder.chmod(0o777)
    else:
        path.unlink()
        if damage == "link":
            (folder / "real").write_bytes(data)
            path.symlink_to("real")
        elif damage == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()
    with pytest.raises(ModelIntegrityError):
        load(known, [folder])
    found = kept(known, [folder])
    assert found is not None
    assert found.problem


def test_another_user_s_file_does_not_run(folder: Path, known: KnownNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.stat(folder).st_uid
    if owner == 0:
        if os.geteuid() != 0:
            pytest.skip("root's files are everybody's to use")
        os.chown(folder / known.model.file, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ModelIntegrityError, match="belongs to"):
        load(known, [folder])


def test_the_first_folder_that_has_it_decides(tmp_path: Path, folder: Path, known: KnownNetwork) -> None:
    mine = tmp_path / "mine"
    assert load(known, [mine, folder]) is not None
    keep(mine, known.model.file, b"something else")
    with pytest.raises(ModelIntegrityError):
        load(known, [mine, folder])
    remove(known, mine)
    assert load(known, [mine, folder]) is not None
    assert load(known, [mine]) is load(known, []) is kept(known, [mine]) is None


def test_kept_files_are_whole_and_readable_by_all(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        path = keep(tmp_path / "a" / "b", "x.tflite", b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    keep(tmp_path / "a" / "b", "x.tflite", b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["x.tflite"]


@pytest.mark.parametrize(
    ("code", "said"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota")]
)
def test_what_cannot_be_written_leaves_the_old_one(
    code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = keep(tmp_path / "kept", "x.tflite", b"old")

    def full(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(InputError, match=said):
        keep(tmp_path / "kept", "x.tflite", b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["x.tflite"]


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path, known: KnownNetwork) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(InputError, match="others can write"):
        keep(folder, known.model.file, b"x")
    assert os.listdir(folder) == []


def test_a_network_that_is_not_there_cannot_be_removed(tmp_path: Path, known: KnownNetwork) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "none", tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="is not in"):
            remove(known, folder)


def test_the_usual_folders_are_the_user_s_and_the_system_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert usual_folders() == (tmp_path / "facesdk-models", Path("/usr/local/share/facesdk-models"))
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_folder() == tmp_path / ".local" / "share" / "facesdk-models"

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    assert usual_folders() == (Path("/usr/local/share/facesdk-models"),)
    with pytest.raises(InputError, match="no home folder"):
        user_folder()
