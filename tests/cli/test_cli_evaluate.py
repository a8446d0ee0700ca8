"""facesdk evaluate and calibrate from photos to files: the same bytes however the work was divided or interrupted."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from evaluation_tools import people_vectors, photo_folder

from facesdk.cli import evaluate as command
from facesdk.cli import main
from facesdk.cli.parser import make_parser
from facesdk.engine.networks import tomllib
from facesdk.engine.operating_points import matrix_of
from facesdk.errors import InputError
from facesdk.evaluation import report as report_module
from facesdk.evaluation.calibrating import operating_points, write_points
from facesdk.evaluation.features import Records, dtype_of
from facesdk.evaluation.photos import Photos
from facesdk.evaluation.study import Settings

for extra in ("matplotlib", "jinja2", "rich"):
    pytest.importorskip(extra, reason="the extra `eval` is not installed")
OPTIONS = ["--embedder", "sface", "--draws", "100", "--protocol", "2+1", "--fmr", "0.1,0.01"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"), copies=2)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("groups") / "groups.csv"
    path.write_text("person,sex\narden,f\nardern,f\ncollins,f\nhopper,f\nbiden,m\nmacron,m\nobama,m\nsunak,m\n")
    return path


@pytest.fixture(scope="module")
def whole(folder: Path, groups: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of one process that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "report"
    assert main(["evaluate", str(folder), "--groups", str(groups), "--out", str(out), "--workers", "1", *OPTIONS]) == 0
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def command_line(*words: object) -> list[str]:
    return [sys.executable, "-m", "facesdk", *map(str, words)]


def test_the_report_says_what_was_measured(whole: Path, folder: Path) -> None:
    result = json.loads((whole / "report.json").read_text())
    assert result["schema"] == "facesdk-evaluation/1"
    pictures = len(list(folder.rglob("*.jpg")))
    assert result["photos"]["read"] == pictures
    everybody = result["one_to_one"]["groups"][0]
    n = result["photos"]["compared"]
    assert 0 < n <= pictures
    assert everybody["mated"] + everybody["non_mated"] == n * (n - 1) // 2
    assert [g["group"] for g in result["one_to_one"]["groups"]] == ["", "sex: f", "sex: m"]
    swept = [r for r in everybody["rates"] if r["chosen"] == "swept"]
    assert [r["target_fmr"] for r in swept] == [0.1, 0.01]
    for rates in swept:
        assert rates["fmr"]["by_picture"]["rate"] <= rates["target_fmr"]
        # Portraits of one person with another brightness are never missed at a threshold that strangers hold.
        assert rates["fnmr"]["by_picture"]["rate"] < 0.5
    assert result["protocols"][0]["people"] == 3  # ardern, macron, obama have three pictures and more
    assert len(result["error_versus_discard"]["curves"]) == 10
    top = [pair["score"] for pair in result["top_non_mated"]]
    assert top == sorted(top, reverse=True)
    assert all(pair["people"][0] != pair["people"][1] for pair in result["top_non_mated"])


def test_the_page_needs_nothing_else_and_escapes_names(whole: Path, tmp_path: Path) -> None:
    page = (whole / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page
    assert 'src="data:' in page
    result = json.loads((whole / "report.json").read_text())
    result["top_non_mated"][0]["people"][0] = "<script>alert(1)</script>"
    files = report_module.render(result)
    assert b"<script>" not in files["report.html"]
    assert b"&lt;script&gt;" in files["report.html"]


def test_no_photo_is_in_a_report_unless_asked_for(whole: Path, folder: Path, groups: Path, tmp_path: Path) -> None:
    assert sorted(content(whole)) == ["det.png", "discard.png", "histogram.png", "report.html", "report.json"]
    out = tmp_path / "with-sheet"
    words = ["evaluate", str(folder), "--groups", str(groups), "--out", str(out), "--workers", "1", "--sheet", *OPTIONS]
    assert main(words) == 0
    files = content(out)
    assert files.pop("sheet.jpg").startswith(b"\xff\xd8")
    assert files == content(whole)


def test_processes_and_the_cache_change_no_byte(whole: Path, folder: Path, groups: Path, tmp_path: Path) -> None:
    words = ["evaluate", folder, "--groups", groups, "--workers", 2, "--cache", tmp_path / "cache", *OPTIONS]
    for name in ("fresh", "cached"):
        subprocess.run(command_line(*words, "--out", tmp_path / name), check=True, capture_output=True)
        assert content(tmp_path / name) == content(whole)


def test_parts_merged_in_any_order_have_the_bytes_of_the_whole(
    whole: Path, folder: Path, groups: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["evaluate", str(folder), "--groups", str(groups), "--workers", "1", *OPTIONS]
    parts = [tmp_path / f"part{i}" for i in (1, 2, 3)]
    for i, part in enumerate(parts, start=1):
        assert main([*common, "--shard", f"{i}/3", "--out", str(part)]) == 0
        assert part.stat().st_mode & 0o777 == 0o700
        assert {p.stat().st_mode & 0o777 for p in part.iterdir()} == {0o600}
    assert "biometric features in the clear" in capsys.readouterr().out
    third, first, second = parts[2], parts[0], parts[1]
    assert main(["evaluate", "merge", str(third), str(first), str(second), "--out", str(tmp_path / "merged")]) == 0
    assert content(tmp_path / "merged") == content(whole)
    capsys.readouterr()
    assert main(["evaluate", "merge", str(first), str(third), "--out", str(tmp_path / "less")]) == 2
    assert "missing: 2/3" in capsys.readouterr().err
    assert (
        main(["evaluate", "merge", str(first), str(first), str(second), str(third), "--out", str(tmp_path / "x")]) == 0
    )
    other = [w if w != "0.1,0.01" else "0.2" for w in common]
    assert main([*other, "--shard", "2/3", "--out", str(tmp_path / "other")]) == 0
    capsys.readouterr()
    assert main(["evaluate", "merge", *map(str, (first, tmp_path / "other", third)), "--out", str(tmp_path / "y")]) == 2
    assert "their settings differ" in capsys.readouterr().err


def test_killed_at_random_moments_and_resumed_the_report_has_the_same_bytes(
    whole: Path, folder: Path, groups: Path, tmp_path: Path
) -> None:
    out, random = tmp_path / "report", np.random.default_rng(3)
    words = command_line("evaluate", folder, "--groups", groups, "--workers", 2, "--cache", tmp_path / "cache",
                         *OPTIONS, "--out", out)  # fmt: skip
    for _ in range(5):
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(random.uniform(0.3, 2.5))
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        assert not out.exists() or content(out) == content(whole)
    if not out.exists():
        subprocess.run(words, check=True, capture_output=True)
    assert content(out) == content(whole)


def test_workers_do_not_outlive_a_parent_that_was_killed(folder: Path, tmp_path: Path) -> None:
    words = command_line("evaluate", folder, "--workers", 2, "--out", tmp_path / "report", *OPTIONS)
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 20
        while not (children := _children(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert children
        time.sleep(1.0)  # until they watch
        children = _children(process.pid)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(map(_runs, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, children))


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


CLUSTER = """
import sys
from distributed import LocalCluster
from facesdk.cli import main
from facesdk.cli.parser import make_parser
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        sys.exit(main([*sys.argv[1:], "--scheduler", cluster.scheduler_address]))
"""


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="the extra `dask` is not installed")
def test_two_workers_of_a_dask_cluster_give_the_same_bytes(
    whole: Path, folder: Path, groups: Path, tmp_path: Path
) -> None:
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    words = ["evaluate", folder, "--groups", groups, "--out", tmp_path / "report", *OPTIONS]
    done = subprocess.run([sys.executable, script, *map(str, words)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "report") == content(whole)


def test_a_report_is_replaced_only_on_request_and_nothing_else_is(
    whole: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = content(whole)
    report_module.write(files, tmp_path / "r")
    with pytest.raises(InputError, match="exists already") as caught:
        report_module.write(files, tmp_path / "r")
    assert caught.value.hint == "--replace replaces a report"
    report_module.write({"report.json": b"{}"}, tmp_path / "r", replace=True)
    assert content(tmp_path / "r") == {"report.json": b"{}"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert main(["evaluate", str(folder), "--out", str(tmp_path / "mine"), "--replace"]) == 2
    assert "name a new folder with --out" in capsys.readouterr().err
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "r"]


def test_without_the_extra_it_says_how_to_get_it_before_any_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["evaluate", str(folder), "--out", str(tmp_path / "r"), "--json"]) == 2
    came = capsys.readouterr()
    assert "a report needs matplotlib, jinja2, rich" in came.err
    assert json.loads(came.out)["hint"] == "pip install 'facesdk-unlock[eval]'"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{photos}", "{photos}"], "expected one folder or CSV file"),
        (["{photos}", "--shard", "3/2"], "a shard is i/n"),
        (["{photos}", "--shard", "1/2", "--sheet"], "a part has no sheet"),
        (["{photos}", "--protocol", "3x3"], "a protocol is samples\\+frames"),
        (["{photos}", "--fmr", "0"], "targets lie between 0 and 1, not 0.0"),
        (["{photos}", "--threshold", "1.5"], "thresholds lie between -1 and 1"),
        (["{photos}", "--draws", "3"], "draws 100 to 100000 times"),
        (["{photos}", "--seed", "-1"], "the seed is a whole number"),
        (["{photos}", "--workers", "0"], "at least one worker"),
        (["{photos}", "--embedder", "arcface"], "embedder must be one of"),
        (["{photos}", "--by", "age"], "expected a group column"),
        (["/nonexistent"], "there is no such folder or CSV file"),
        (["merge", "{photos}"], "is no part of an evaluation"),
        (["{photos}", "--workers", "2", "--scheduler", "x"], "do not fit together"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(
    words: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [word.replace("{photos}", str(folder)) for word in words]
    assert main(["evaluate", *filled, "--out", str(tmp_path / "r")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_no_readable_picture_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p" / "eve").mkdir(parents=True)
    (tmp_path / "p" / "eve" / "1.jpg").write_text("x")
    assert main(["evaluate", str(tmp_path / "p"), "--workers", "1", "--out", str(tmp_path / "r")]) == 2
    assert "none of the 1 pictures could be read" in capsys.readouterr().err


def test_one_person_and_one_picture_make_a_report_without_rates(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "all")
    (tmp_path / "p").mkdir()
    (folder / "biden").rename(tmp_path / "p" / "biden")
    words = [
        "evaluate",
        str(tmp_path / "p"),
        "--workers",
        "1",
        "--out",
        str(tmp_path / "r"),
        "--threshold",
        "0.5",
        *OPTIONS,
    ]
    assert main(words) == 0
    result = json.loads((tmp_path / "r" / "report.json").read_text())
    assert result["one_to_one"]["groups"][0]["non_mated"] == 0
    assert result["protocols"][0]["people"] == 0
    assert "not known" in (tmp_path / "r" / "report.html").read_text()


def test_listed_pairs_alone_are_compared(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.jpg"))
    of = {person: [n for n in names if n.startswith(person)] for person in ("obama", "macron", "biden")}
    rows = [f"{of['obama'][0]},{of['obama'][2]},1", f"{of['macron'][0]},{of['macron'][2]},1",
            f"{of['obama'][0]},{of['biden'][0]},0", f"{of['obama'][2]},{of['macron'][0]},0"]  # fmt: skip
    (folder / "pairs.csv").write_text("\n".join(["a,b,same", *rows]))
    words = ["evaluate", str(folder / "pairs.csv"), "--workers", "1", "--out", str(tmp_path / "r"), "--json"]
    assert main([*words, "--embedder", "sface", "--with-refused"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["mated"], printed["non_mated"]) == (2, 2)
    (folder / "pairs.csv").unlink()


def made_up(people: int, each: int, *, groups: int = 1) -> tuple[Photos, Records, Settings]:
    """Records without photos: vectors of made-up people of good quality."""
    vectors, owners = people_vectors(people, each, d=128, spread=1.1)
    rows = np.zeros(len(owners), dtype_of("sface"))
    rows["key"] = [i.to_bytes(32, "big") for i in range(1, len(owners) + 1)]
    rows["vector"], rows["sampled"], rows["faces"] = vectors, True, 1
    rows["quality"] = [100, 120, 40, 0, 300, 1, 30]
    names = tuple(f"{p}/{i}.jpg" for i, p in enumerate(owners))
    columns = {"team": tuple(f"t{p % groups}" for p in owners)} if groups > 1 else {}
    photos = Photos(Path("/nowhere"), names, tuple(f"p{p}" for p in owners), columns)
    return (
        photos,
        Records(np.arange(len(owners)), rows, {}),
        Settings(embedder="sface", targets=(0.05, 0.01), draws=200),
    )


def test_calibration_holds_the_worst_group_to_its_upper_limit(tmp_path: Path) -> None:
    photos, records, settings = made_up(120, 4, groups=2)
    points = operating_points(photos, records, settings)
    assert [p.target for p in points] == [0.05, 0.01]
    for point in points:
        cell = point.cells[0][0]
        assert cell.group.startswith("team: t")
        assert cell.estimate <= cell.bound <= point.target
        assert 0 <= cell.fnmr <= 1
        # A person has four photos: five and more of either are not offered.
        assert all("people with enough pictures" in c.why for c in point.cells[-1])
    assert points[1].cells[0][0].threshold > points[0].cells[0][0].threshold
    write_points(tmp_path / "points.toml", "sface", points)
    (read, _) = tomllib.loads((tmp_path / "points.toml").read_text())["operating_points"]["sface"]
    assert read["target_fmr"] == 0.05
    thresholds = matrix_of(read["thresholds"])
    assert thresholds[0][0] == points[0].cells[0][0].threshold
    assert thresholds[-1][-1] == float("inf")
    assert len(read["models"]) == 2
    with pytest.raises(InputError, match="cannot be written"):
        write_points(tmp_path / "points.toml", "sface", points)


def test_what_the_photos_cannot_show_is_refused_with_how_many_people_it_takes() -> None:
    photos, records, _ = made_up(20, 2)
    with pytest.raises(InputError, match=r"there are 20 people .* 190 pairs of people; .* takes 300 pairs, 25 people"):
        operating_points(photos, records, Settings(embedder="sface", targets=(0.01,), draws=200))


def test_calibrate_from_photos_says_what_they_cannot_show(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["calibrate", str(folder), "--workers", "1", "--embedder", "sface", "--out", str(tmp_path / "p.toml")]
    assert main([*words, "--fmr", "1e-4", "--draws", "100"]) == 2
    assert "these photos support no operating point" in capsys.readouterr().err
    assert main([*words, "--fmr", "0.2", "--draws", "100", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["points"][0]["cells"][0][0]["bound"] <= 0.2
    assert os.path.exists(tmp_path / "p.toml")
    assert main([*words, "--fmr", "0.2"]) == 2


def test_the_guide_names_only_options_that_there_are() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "evaluate.md").read_text()
    parser = make_parser()
    commands = next(a for a in parser._actions if a.choices).choices
    known = {option for name in ("evaluate", "calibrate") for option in commands[name]._option_string_actions}
    named = set(re.findall(r"--[a-z][a-z-]+", guide))
    assert len(named) > 10
    assert named <= known
    assert {o for o in known if o.startswith("--")} - named <= {
        "--help", "--json", "--embedder", "--workers", "--seed", "--replace",
    }  # fmt: skip
    for line in guide.splitlines():
        assert "../" not in line
