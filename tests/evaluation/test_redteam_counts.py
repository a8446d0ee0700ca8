"""What a report of a red-team test says of results that are known, counted by hand, and what it keeps apart."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from facesdk.evaluation.redteam_counts import measure, read_results
from facesdk.evaluation.redteam_folder import RESULTS, mark
from facesdk.evaluation.redteam_report import make_report
from facesdk.evaluation.redteam_run import Settings

SETTINGS = Settings("rgb_challenge", "dot", 2, 0, passive=True, user="anna", generation=1, embedder="sface",
                    facesdk="0.1.0")  # fmt: skip


def row(clip: str, draw: int = 0, *, person: str = "anna", live: bool = False, match: bool | None = None,
        answered: bool = True, comparable: bool = True, simulated: bool = False, ms: int | None = 5000,
        ) -> dict[str, Any]:  # fmt: skip
    """A result; the species is what the clip's name begins with."""
    return {
        "clip": clip, "species": clip.split("-")[0], "person": person, "simulated": simulated, "draw": draw,
        "path": "fresh" if draw else "shown", "comparable": comparable, "answered": answered, "live": live,
        "match": match, "attack_suspected": not live, "reason": "passed" if live else "flat", "decided_ms": ms,
        "frames": 80,
    }  # fmt: skip


ROWS = [
    # Six live clips of three people: five got an answer, one of anna's and ben's only one were refused.
    row("live-1", live=True, match=True, ms=4000), row("live-2", live=True, match=True, ms=6000), row("live-3"),
    row("live-4", person="ben"), row("live-5", person="cleo", live=True, match=False, ms=9000),
    row("live-6", answered=False, ms=None),
    # Four prints: none passed; one was never seen, on none of its draws.
    row("print-1"), row("print-1", 1), row("print-2"), row("print-3"), row("print-4", answered=False, ms=None),
    # Two phones: one passed on one of three draws, and matched; the other passed on none.
    row("phone-1"), row("phone-1", 1, live=True, match=True), row("phone-1", 2), row("phone-2"),
    # A mask of somebody else, who is not the owner: passed, and matched nobody.
    row("mask-1", person="ben", live=True, match=False),
    # What was asked differs by now.
    row("print-5", comparable=False, answered=False, ms=None),
    # Rendered ones have numbers of their own.
    row("bent-1", simulated=True), row("live-7", simulated=True, live=True, match=True),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mark(tmp_path)
    lines = [{"schema": "facesdk-redteam/1", "settings": asdict(SETTINGS)}, *ROWS]
    (tmp_path / RESULTS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


@pytest.fixture
def real(folder: Path) -> dict[str, Any]:
    result = measure(*read_results(folder))
    assert [part["part"] for part in result["parts"]] == ["real", "simulated"]
    return result["parts"][0]


def test_apcer_is_by_species_and_its_worst_is_the_headline(real: dict[str, Any]) -> None:
    rates = {rate["species"]: rate for rate in real["apcer"]}
    assert {s: (r["errors"], r["n"], r["no_answer"]) for s, r in rates.items()} == {
        "mask": (1, 1, 0), "phone": (1, 2, 0), "print": (0, 3, 1),
    }  # fmt: skip
    assert real["apcer_worst"]["species"] == "mask"
    assert (rates["phone"]["rate"], rates["phone"]["draws_passed"], rates["phone"]["draws"]) == (0.5, 1, 4)
    assert rates["print"]["no_answer_rate"] == 0.25
    # Of no error among 3: 1 - .05 ** (1 / 3), and of two sides 1 - .025 ** (1 / 3).
    assert rates["print"]["limit_95"] == pytest.approx(0.63160, abs=1e-5)
    assert rates["print"]["clopper_pearson"] == (0.0, pytest.approx(0.70760, abs=1e-5))
    assert real["not_tested"] == ["bent", "tablet"]


def test_of_equal_species_the_worst_is_the_one_that_is_known_least() -> None:
    rows = [row(f"print-{n}") for n in range(9)] + [row("bent-1")]
    assert measure(asdict(SETTINGS), rows)["parts"][0]["apcer_worst"]["species"] == "bent"


def test_bpcer_counts_who_was_refused_and_is_told_by_person(real: dict[str, Any]) -> None:
    bpcer = real["bpcer"]
    assert (bpcer["errors"], bpcer["n"], bpcer["no_answer"], bpcer["rate"]) == (2, 5, 1, 0.4)
    people = bpcer["by_person"]
    assert (people["people"], people["failed"]) == (3, 2)
    assert people["rate"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    # Two of three, one side: the p at which p ** 3 = .95.
    assert people["limit_95"] == pytest.approx(0.95 ** (1 / 3), abs=1e-6)


def test_iapar_and_the_owner_count_clips_that_show_the_owner(real: dict[str, Any]) -> None:
    assert {r["species"]: (r["errors"], r["n"]) for r in real["iapar"]} == {"phone": (1, 2), "print": (0, 3)}
    assert (real["iapar_worst"]["species"], real["iapar_worst"]["rate"]) == ("phone", 0.5)
    assert (real["owner_refused"]["errors"], real["owner_refused"]["n"]) == (1, 3)


def test_without_the_matcher_nothing_is_said_of_it() -> None:
    part = measure({**asdict(SETTINGS), "user": ""}, [row("print-1"), row("live-1", live=True)])["parts"][0]
    assert (part["iapar"], part["iapar_worst"], part["owner_refused"]) == ([], None, None)


def test_time_to_the_decision_is_of_live_clips_that_passed(real: dict[str, Any]) -> None:
    times = real["time_to_decision"]
    assert (times["n"], times["median_ms"], times["longest_ms"]) == (3, 6000, 9000)


def test_words_say_what_n_does_not(real: dict[str, Any]) -> None:
    said = "\n".join(real["words"])
    assert "Worst species mask: 1 of 1 clips passed. With 95 % confidence at most 100 %" in said
    assert "Fewer than 30 clips answered of mask, phone, print" in said
    assert "Not tested: bent, tablet." in said
    assert "1 clips were left out" in said
    assert "rendered" not in said
    assert real["not_comparable"] == ["print-5"]
    nobody = measure(asdict(SETTINGS), [row("print-1", answered=False)])["parts"][0]
    assert any("No attack got an answer" in line for line in nobody["words"])
    assert any("who refuses everybody" in line for line in nobody["words"])


def test_simulated_clips_are_a_part_of_their_own(folder: Path) -> None:
    simulated = measure(*read_results(folder))["parts"][1]
    assert (simulated["clips"], [r["species"] for r in simulated["apcer"]]) == (2, ["bent"])
    assert "nothing about a camera" in simulated["words"][0]


def test_the_report_is_one_page_that_asks_nobody_and_has_no_scores(folder: Path) -> None:
    for extra in ("matplotlib", "jinja2"):
        pytest.importorskip(extra, reason="the extra `eval` is not installed")
    before = sorted(folder.parent.iterdir())
    result = make_report(folder)
    make_report(folder)  # in the place of the first
    assert sorted(folder.parent.iterdir()) == before
    assert sorted(path.name for path in folder.iterdir()) == ["redteam.json", "report", RESULTS]
    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?!data:image/png;base64,)", page)
    assert "<script" not in page
    assert "APCER, worst species (mask): 100 %" in page
    assert page.count("data:image/png") == 4
    written = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(result))
    assert not re.search("score|feature|vector", json.dumps({**written, "definitions": None}))
