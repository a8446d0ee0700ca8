"""Which pictures, people and groups: from folders and CSV files, and what is wrong with those that do not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesdk.errors import InputError
from facesdk.evaluation.photos import chosen_groups, read_photos, with_groups


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_for_each_person(tmp_path: Path) -> None:
    files(tmp_path, "eve/2.jpg", "eve/1.JPEG", "adam/deep/er.png", "adam/notes.txt")
    photos = read_photos(tmp_path)
    assert photos.names == ("adam/deep/er.png", "eve/1.JPEG", "eve/2.jpg")
    assert photos.people == ("adam", "eve", "eve")
    assert photos.path(0) == tmp_path / "adam/deep/er.png"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no JPEG or PNG file in it; expected a folder for each person"),
        (("eve/1.gif",), "no JPEG or PNG file in it"),
        (("eve/1.jpg", "stray.png"), "1 pictures lie in no person's folder \\(stray.png, ...\\)"),
    ],
)
def test_a_folder_that_does_not_say_who_is_who(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_photos(files(tmp_path, *names))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder or CSV file"):
        read_photos(tmp_path / "none")


def test_a_list_with_groups(tmp_path: Path) -> None:
    photos = read_photos(written(tmp_path / "l.csv", "\ufeffpath,person,sex\na.jpg,eve,f\n\nsub/b.jpg, adam ,\n"))
    assert photos.names == ("a.jpg", "sub/b.jpg")
    assert photos.people == ("eve", "adam")
    assert photos.groups == {"sex": ("f", "")}
    assert photos.folder == tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the names of the columns"),
        ("path,path\n", "line 1: expected the names of the columns, each once"),
        ("path,name\na,b\n", "line 1: expected the columns path,person .* or a,b,same, not path,name"),
        ("path,person\n", "expected a line for each picture, there is none"),
        ("path,person\na.jpg\n", "line 2: expected 2 fields, not 1"),
        ("path,person\na.jpg,\n", "line 2: expected a person, not an empty field"),
        ("path,person\na.jpg,x\nb.jpg,x\na.jpg,y\n", "line 4: path 'a.jpg' stands here for the second time"),
        ('path,person\n"a.jpg,x\n', "line 2: not a line of a CSV file"),
    ],
)
def test_a_list_that_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"l.csv(, |: ){message}"):
        read_photos(written(tmp_path / "l.csv", text))


def test_a_list_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes("path,person\nü.jpg,x\n".encode("latin-1"))
    with pytest.raises(InputError, match="expected text in UTF-8"):
        read_photos(tmp_path / "l.csv")


def test_pairs_connect_pictures_to_people(tmp_path: Path) -> None:
    photos = read_photos(written(tmp_path / "p.csv", "a,b,same\nx,y,1\nz,y,True\nx,w,0\nw,x,no\n"))
    assert photos.names == ("x", "y", "z", "w")
    assert photos.people == ("x", "x", "x", "w")
    assert photos.pairs == ((0, 1), (1, 2), (0, 3))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("x,y,maybe", "line 2: same must be 1 or 0, not 'maybe'"),
        ("x,,1", "line 2: expected two paths, one is empty"),
        ("x,x,1", "line 2: a picture was paired with itself"),
        ("x,y,1\ny,z,1\nx,z,0", "line 4: same is 0 where other lines connect"),
        ("", "expected a line for each pair"),
    ],
)
def test_pairs_that_are_wrong_are_named_with_their_line(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_photos(written(tmp_path / "p.csv", f"a,b,same\n{rows}\n"))


def test_groups_by_path_by_person_and_from_the_folder_above(tmp_path: Path) -> None:
    photos = read_photos(files(tmp_path / "set", "eve/1.jpg", "adam/1.jpg"))
    by_person = with_groups(photos, written(tmp_path / "g.csv", "person,sex,age\neve,f,20\n"))
    assert by_person.groups == {"sex": ("", "f"), "age": ("", "20")}
    assert by_person.notes == ("1 of 2 pictures have no line in g.csv: they belong to no group",)
    by_path = with_groups(photos, written(tmp_path / "g.csv", "path,sex\nset/eve/1.jpg,f\nadam/1.jpg,m\n"))
    assert by_path.groups == {"sex": ("m", "f")}
    assert by_path.notes == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,sex\neve,f\n", "line 1: expected a column path or person, not name,sex"),
        ("person,sex\neve,f\neve,m\n", "line 3: person 'eve' stands here for the second time"),
        ("person,sex\nlilith,f\n", "none of its 1 values of person is one of the pictures' \\('adam', ...\\)"),
    ],
)
def test_groups_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    photos = read_photos(files(tmp_path / "set", "eve/1.jpg", "adam/1.jpg"))
    with pytest.raises(InputError, match=message):
        with_groups(photos, written(tmp_path / "g.csv", text))


def test_only_the_chosen_columns_are_groups(tmp_path: Path) -> None:
    rows = "".join(f"{i}.jpg,p{i},{i % 2},{i}\n" for i in range(20))
    photos = read_photos(written(tmp_path / "l.csv", "path,person,sex,age\n" + rows))
    with pytest.raises(InputError, match="column age has 20 values, groups have at most 12") as caught:
        chosen_groups(photos, None)
    assert caught.value.hint == "--by names the columns that are groups"
    assert list(chosen_groups(photos, ["sex"]).groups) == ["sex"]
    assert chosen_groups(photos, []).groups == {}
    with pytest.raises(InputError, match=r"expected a group column \(sex, age\), not 'race'"):
        chosen_groups(photos, ["race"])
