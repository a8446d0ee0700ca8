"""What the results of a red-team test come to: the rates of ISO/IEC 30107-3, each with its n and what n cannot say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from statistics import median
from typing import Any

from facesdk.errors import InputError
from facesdk.evaluation.intervals import clopper_pearson, upper_limit
from facesdk.evaluation.redteam_folder import KNOWN_SPECIES, LIVE, RESULTS, is_species, read_lines
from facesdk.evaluation.redteam_run import Settings

Row = dict[str, Any]
Result = dict[str, Any]
MAX_TEXT, _MOST = 1000, 1e12
_SETTINGS: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,)}
_KINDS: dict[str, tuple[type, ...]] = {
    "clip": (str,), "species": (str,), "person": (str,), "simulated": (bool,), "draw": (int,), "path": (str,),
    "comparable": (bool,), "answered": (bool,), "live": (bool,), "match": (bool, type(None)),
    "attack_suspected": (bool,), "reason": (str,), "decided_ms": (int, type(None)), "frames": (int,),
}  # fmt: skip
DEFINITIONS = {
    "apcer": "Attack presentation classification error rate of a species (ISO/IEC 30107-3): of its clips that got an "
    "answer, those that passed as a living person. A clip passed if it did so on any of the paths that it was put "
    "through. The headline is the worst species: an attacker chooses.",
    "apnrr": "Attack presentation non-response rate: of a species' clips, those that ended before the session could "
    "say anything. They are not counted in APCER, where they would flatter.",
    "bpcer": "Bona fide presentation classification error rate: of the live clips that got an answer, those that did "
    "not pass, whether they were called an attack or did not follow the prompts.",
    "bpnrr": "Bona fide presentation non-response rate: of the live clips, those that ended before an answer.",
    "iapar": "Impostor attack presentation accept rate, of the whole system: of a species' clips that got an answer "
    "and show the owner, those that passed and whose face matched. Only with the matcher.",
    "owner_refused": "Of the owner's live clips that got an answer, those that did not both pass and match. Only with "
    "the matcher.",
    "interval": "Clopper-Pearson, 95 %, as if clips were independent. limit_95: with 95 % confidence the rate is not "
    "above it, of one side; of no error among n it is about 3/n. Clips of one person, one print and one camera are "
    "alike: by person, a person counts as one trial that failed if any of their clips did.",
    "time_to_decision": "From the first frame to the outcome, of live clips that passed.",
}


def read_results(folder: Path) -> tuple[Row, list[Row]]:
    """The settings and the rows of RESULTS. InputError for what run does not write."""
    path = folder / RESULTS
    rows = read_lines(path)
    if not rows or not isinstance(rows[0].get("settings"), dict):
        raise InputError(f"{path}: there are no results", hint="facesdk redteam run makes them")
    settings = rows[0]["settings"]
    if wrong := [f.name for f in fields(Settings) if not _is_of(settings.get(f.name), _SETTINGS[str(f.type)])]:
        raise InputError(f"{path}:1: {', '.join(wrong)} is not as run writes it")
    seen = set[tuple[str, int]]()
    for number, row in enumerate(rows[1:], 2):
        wrong = [key for key, kind in _KINDS.items() if key not in row or not _is_of(row[key], kind)]
        if wrong or not is_species(row["species"]):
            raise InputError(f"{path}:{number}: {', '.join(wrong) or 'species'} is not as run writes it")
        if (row["clip"], row["draw"]) in seen:
            raise InputError(f"{path}:{number}: a second result of draw {row['draw']} of one clip")
        seen.add((row["clip"], row["draw"]))
    return settings, rows[1:]


def _is_of(value: Any, kind: tuple[type, ...]) -> bool:
    """Whether this is of one of the types, and no text or number is beyond all measure."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not 0 <= value <= _MOST:
        return False
    return type(value) in kind and not (isinstance(value, str) and len(value) > MAX_TEXT)


def measure(settings: Row, rows: list[Row]) -> Result:
    """The report: real clips and simulated ones apart. Holds outcomes alone, no scores and no features."""
    parts = [_part(name, [row for row in rows if row["simulated"] is simulated], settings)
             for name, simulated in (("real", False), ("simulated", True))]  # fmt: skip
    return {
        "schema": "facesdk-redteam/1", "settings": settings, "definitions": DEFINITIONS,
        "parts": [part for part in parts if part["clips"]],
    }  # fmt: skip


def _part(name: str, rows: list[Row], settings: Row) -> Result:
    usable = [row for row in rows if row["comparable"]]
    clips = _by_clip(usable)
    live = [c for c in clips if c["species"] == LIVE]
    attacks = {s: [c for c in clips if c["species"] == s] for s in sorted({c["species"] for c in clips} - {LIVE})}
    apcer = [{"species": s, **_rate(of, lambda c: bool(c["live"]))} for s, of in attacks.items()]
    iapar, refused = [], None
    if user := settings.get("user"):
        owners = {s: [c for c in of if _is_owner(c, user)] for s, of in attacks.items()}
        iapar = [{"species": s, **_rate(of, lambda c: bool(c["match"]))} for s, of in owners.items() if of]
        refused = _rate([c for c in live if _is_owner(c, user)], lambda c: not c["match"])
    times = sorted(c["decided_ms"] for c in live if c["live"] and c["decided_ms"] is not None)
    part = {
        "part": name, "clips": len(_by_clip(rows)), "people": len({c["person"] for c in clips}),
        "not_comparable": sorted({row["clip"] for row in rows if not row["comparable"]}),
        "apcer_worst": _worst(apcer), "apcer": apcer, "bpcer": _rate(live, lambda c: not c["live"]),
        "iapar_worst": _worst(iapar), "iapar": iapar, "owner_refused": refused,
        "not_tested": [s for s in KNOWN_SPECIES if s != LIVE and s not in attacks],
        "time_to_decision": {
            "n": len(times), "median_ms": median(times) if times else None,
            "longest_ms": times[-1] if times else None, "times_ms": times,
        },
        "reasons": _reasons(usable),
    }  # fmt: skip
    return {**part, "words": words(part)}


def _is_owner(clip: Row, user: str) -> bool:
    """Whether a clip shows the owner; of nobody's that is taken for granted."""
    return clip["person"] in ("", user)


def _by_clip(rows: Iterable[Row]) -> list[Row]:
    """One row for each clip: it passed, matched and was answered if that was so with any of its draws."""
    clips: dict[str, Row] = {}
    for row in rows:
        clip = clips.setdefault(row["clip"], {**row, "draws": 0, "draws_live": 0, "match": False, "live": False,
                                              "answered": False})  # fmt: skip
        clip["draws"] += row["answered"]
        clip["draws_live"] += row["live"]
        clip["live"] = clip["live"] or row["live"]
        clip["match"] = clip["match"] or row["match"] is True
        clip["answered"] = clip["answered"] or row["answered"] or row["live"]
    return list(clips.values())


def _rate(clips: list[Row], wrong: Callable[[Row], bool]) -> Result:
    """Errors among the clips that got an answer."""
    answered = [c for c in clips if c["answered"]]
    errors, n = sum(map(wrong, answered)), len(answered)
    people: dict[str, list[bool]] = {}
    for c in answered:
        people.setdefault(c["person"], []).append(wrong(c))
    failed = sum(any(found) for found in people.values())
    return {
        "errors": errors, "n": n, "rate": errors / n if n else None, "clopper_pearson": clopper_pearson(errors, n),
        "limit_95": upper_limit(errors, n) if n else None,
        "by_person": {
            "people": len(people), "failed": failed,
            "rate": sum(sum(found) / len(found) for found in people.values()) / len(people) if people else None,
            "limit_95": upper_limit(failed, len(people)) if people else None,
        },
        "no_answer": len(clips) - n, "no_answer_rate": (len(clips) - n) / len(clips) if clips else None,
        "draws": sum(c["draws"] for c in answered), "draws_passed": sum(c["draws_live"] for c in answered),
    }  # fmt: skip


def _worst(rates: list[Result]) -> Result | None:
    """The species with the highest rate; of equal ones the one that is known least."""
    known = [rate for rate in rates if rate["rate"] is not None]
    return max(known, key=lambda rate: (rate["rate"], rate["limit_95"]), default=None)


def _reasons(rows: list[Row]) -> list[Result]:
    """How sessions ended, by species, the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        key = row["species"], row["reason"][:200]
        counts[key] = counts.get(key, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    return [{"species": species, "reason": reason, "sessions": n} for (species, reason), n in ranked]


def words(part: Result) -> list[str]:
    """What the numbers say, and what they do not."""
    said = []
    if part["part"] == "simulated":
        said.append(
            "These clips were rendered. They show that the code does what it should, and nothing about a camera."
        )
    worst, bpcer = part["apcer_worst"], part["bpcer"]
    if worst is None:
        said.append("No attack got an answer: this says nothing about attacks.")
    else:
        said.append(
            f"Worst species {worst['species']}: {worst['errors']} of {worst['n']} clips passed. With 95 % confidence "
            f"at most {percent(worst['limit_95'])} would, of clips like these."
        )
    few = [rate["species"] for rate in part["apcer"] if rate["n"] < 30]
    if few:
        said.append(f"Fewer than 30 clips answered of {', '.join(few)}: no error among n means only below some 3/n.")
    if bpcer["n"]:
        said.append(
            f"{bpcer['errors']} of {bpcer['n']} live clips were refused; with 95 % confidence at most "
            f"{percent(bpcer['limit_95'])}."
        )
    else:
        said.append("No live clip got an answer: who refuses everybody passes every other test here.")
    if bpcer["by_person"]["people"] <= 1:
        said.append("Live clips are of one person: of others they say nothing.")
    if part["not_tested"]:
        said.append(f"Not tested: {', '.join(part['not_tested'])}. What was not tried is not known to be refused.")
    if part["not_comparable"]:
        said.append(
            f"{len(part['not_comparable'])} clips were left out: the session now asks for something else than when "
            "they were recorded, by another version or policy. Record them anew."
        )
    return said


def percent(value: float) -> str:
    """A rate for people."""
    return f"{100 * value:.3g} %"
