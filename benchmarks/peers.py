"""Measure facesdk beside what people install instead, in one run on one machine.

    python benchmarks/peers.py [--only NAME[,NAME]] [--json FILE] [--write docs/measurements.md] [--cache FOLDER]

Makes an environment per peer in the cache (about 2.5 GB in all, once), then has every contestant decide about the same
photo: file to decision, cold start, peak memory, import time, installed size. The table goes to stdout. Nothing here
fails by time; a contestant that cannot be installed or decides wrongly says so in its row.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The parts lie in peers/, which cannot be a package: this file has the name already.
sys.path.insert(0, str(HERE / "peers"))

from contestants import CONTESTANTS, ROOT, Contestant, Installed, NotMeasured, prepare  # noqa: E402
from measure import Probes, Row, enroll, measure_cold, measure_imports, measure_warm  # noqa: E402
from readme import write_between_markers  # noqa: E402
from report import as_json, to_markdown  # noqa: E402


def main() -> int:
    """Exit code."""
    args = parse_arguments()
    args.cache.mkdir(parents=True, exist_ok=True)
    rows = {contestant.name: Row(contestant) for contestant in args.only}
    with (args.cache / "log.txt").open("wb", buffering=0) as log:
        ready = make_ready(rows, args.cache)
        if ready:
            probes = make_probes(ready[0].python, args.cache)
            for installed in list(ready):
                try:
                    enroll(installed, log)
                except NotMeasured as reason:
                    rows[installed.contestant.name].problem = str(reason)
                    ready.remove(installed)
            measure_warm(rows, ready, probes, rounds=args.warm, log=log)
            measure_cold(rows, ready, probes, rounds=args.cold, log=log)
            measure_imports(rows, ready, rounds=args.imports)
    table = to_markdown(rows)
    print(table)
    if args.json:
        args.json.write_text(json.dumps(as_json(rows), indent=1) + "\n", encoding="utf-8")
    if args.write:
        write_between_markers(args.write, "peers", table)
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line, `only` as a list of contestants."""
    parser = argparse.ArgumentParser(description="facesdk beside its peers")
    parser.add_argument("--only", type=named_contestants, default=list(CONTESTANTS), metavar="NAME[,NAME]")
    parser.add_argument("--cache", type=lambda text: Path(text).resolve(), default=ROOT / ".cache" / "peers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every sample there")
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace the table between its markers")
    parser.add_argument("--warm", type=int, default=30, help="rounds in living processes")
    parser.add_argument("--cold", type=int, default=7, help="rounds of fresh processes")
    parser.add_argument("--imports", type=int, default=15, help="rounds of imports")
    return parser.parse_args()


def named_contestants(text: str) -> list[Contestant]:
    """Contestants by name, in the order of the table."""
    names = text.split(",")
    known = {contestant.name for contestant in CONTESTANTS}
    if unknown := sorted(set(names) - known):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(sorted(known))}, got {', '.join(unknown)}")
    return [contestant for contestant in CONTESTANTS if contestant.name in names]


def make_ready(rows: dict[str, Row], cache: Path) -> list[Installed]:
    """The contestants that could be installed; the others get the reason into their row."""
    ready = []
    for row in rows.values():
        try:
            installed = prepare(row.contestant, cache)
        except NotMeasured as reason:
            row.problem = str(reason)
            continue
        row.size_bytes = installed.size_bytes
        ready.append(installed)
    return ready


def make_probes(python: Path, cache: Path) -> Probes:
    """The two photos, made once and then kept: another Pillow would write other bytes."""
    probes = Probes(mated=cache / "mated.jpg", nonmated=cache / "nonmated.jpg")
    if not (probes.mated.exists() and probes.nonmated.exists()):
        script = HERE / "peers" / "make_probes.py"
        subprocess.run([str(python), str(script), str(ROOT / "facesdk" / "portraits"), str(cache)], check=True)
    return probes


if __name__ == "__main__":
    sys.exit(main())
