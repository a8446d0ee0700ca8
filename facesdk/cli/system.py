"""Commands about the machine and the package: doctor, bench, demo."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from facesdk.cli.context import Context
from facesdk.cli.new_file import new_path
from facesdk.cli.options import add_command, add_engine, add_path
from facesdk.cli.output import as_json, say, show
from facesdk.errors import UsageError

DEMO_PICTURE = Path("facesdk-demo.png")
BOARD_FILE = Path("facesdk-board.json")


def add(commands: Any) -> None:
    """The commands of this module."""
    add_command(commands, "doctor", doctor, "Say what is installed and used, and why.")
    timing = add_command(commands, "bench", bench, "Time the networks and the way from frame to features.")
    add_engine(timing)
    timing.add_argument("--rounds", type=int, default=100, metavar="N", help="default: %(default)s")
    timing.add_argument("--board", action="store_true", help="all that this board can tell, as a file to contribute")
    add_path(timing, "--out", metavar="FILE", help="with --board: default facesdk-board.json")
    timing.add_argument("--emulated", action="store_true", help="with --board: no times, they say nothing here")
    timing.add_argument("--big-cores", action="store_true", help="use the fastest cores only, where they differ")
    showing = add_command(commands, "demo", demo, "Enroll, verify, refuse and attack with the bundled portraits.")
    text = "simulated sessions: a head that follows a dot opens, prints and a replay do not (half a minute)"
    showing.add_argument("--live", action="store_true", help=text)
    text = "default: facesdk-demo.png, or the first free facesdk-demo-2.png ..."
    add_path(showing, "--picture", metavar="FILE", help=text)
    showing.add_argument("--no-picture", action="store_true", help="write no picture")


def doctor(context: Context, options: argparse.Namespace) -> int:
    """Says what is installed."""
    from facesdk.device.doctor import examine

    facts = examine()
    runtime, advice = facts["runtime"], facts["board"]["advice"]
    chosen = f"{runtime['name']} {runtime['version']}" if runtime["usable"] else "none"
    lines = [
        f"machine   {facts['machine']}, {facts['system']}, Python {facts['python']}",
        f"board     {facts['board']['text']}",
        *([f"throttled {facts['board']['throttling']}"] if facts["board"]["throttling"] else []),
        f"advice    --embedder {advice['embedder']} --threads {advice['threads']}: {advice['reason']}",
        *(f"package   {name} {version or 'not installed'}" for name, version in facts["packages"].items()),
        f"kernels   {facts['kernels']['used']} (usable: {', '.join(facts['kernels']['usable'])})",
        *(f"model     {name} {'ok' if ok else 'DAMAGED'}" for name, ok in facts["models"].items()),
        f"runtime   {chosen}: {runtime['reason']}",
        *(f"          {name}: {r['reason']}" for name, r in facts["runtimes"].items() if not r["usable"]),
        *(f"native    {name}: {found}" for name, found in facts["native"].items()),
        f"accel.    {facts['accelerator']}",
        f"camera    {facts['camera']}",
        f"liveness  {facts['liveness']}",
    ]
    show(context, facts, lines)
    if not all(facts["models"].values()):
        return 6
    return 0 if runtime["usable"] else 5


def bench(context: Context, options: argparse.Namespace) -> int:
    """Times the networks and the pipeline; with --board everything that benchmarks/boards/ collects."""
    from facesdk.device.board import pin_to_big_cores, throttling
    from facesdk.engine.engine import Engine
    from facesdk.evaluation.timing import run_bench

    if not options.board and (options.out or options.emulated):
        raise UsageError("--out and --emulated belong to --board")
    if options.big_cores:
        say(f"on processors {', '.join(map(str, sorted(pin_to_big_cores())))}")
    if options.board:
        return _bench_board(context, options)
    engine = Engine(options.embedder or "joint", threads=options.threads, runtime=options.runtime)
    result = run_bench(engine, rounds=options.rounds)
    lines = [f"{name:24} {ms:8.2f} ms" for name, ms in result["invoke_ms"].items()]
    frame = f"{result['pipeline_ms']:8.2f} ms  ({result['overhead']:.3f} x, n = {result['n']})"
    lines += [f"{'all networks':24} {result['bare_invoke_ms']:8.2f} ms", f"{'frame to features':24} {frame}"]
    if slowed := throttling(busy=True):
        say(f"throttled: {slowed}")
    show(context, result, lines)
    return 0


def _bench_board(context: Context, options: argparse.Namespace) -> int:
    from facesdk.evaluation.board_report import run_board

    if options.embedder:
        raise UsageError("--board measures every embedder: leave --embedder out")
    path = new_path(options.out, BOARD_FILE, option="--out")
    result = run_board(
        rounds=options.rounds, threads=options.threads, runtime=options.runtime, emulated=options.emulated,
        say=say,
    )  # fmt: skip
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(result, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): --out names another file") from error
    times, lines = (
        result["times"],
        [result["board"]["model"] or result["board"]["processor"] or result["board"]["machine"]],
    )
    for name, counts in result["accuracy"]["portraits"].items():
        right, every = (sum(pair) for pair in zip(counts["mated"], counts["non_mated"], strict=True))
        ms = f"{times['pipeline'][name]['p50_ms']:8.2f} ms a frame, " if times else ""
        lines.append(f"{name:24} {ms}{right} of {every} pairs of portraits decided rightly")
    if times and (slowed := result["conditions"]["throttling"]):
        lines.append(f"throttled: {slowed}")
    show(context, result, [*lines, f"written to {path}: benchmarks/boards/README.md says where to send it"])
    return 0


def demo(context: Context, options: argparse.Namespace) -> int:
    """Runs the demo."""
    from facesdk.evaluation.demo import run_demo
    from facesdk.evaluation.live_demo import run_live_demo

    lines: list[str] = []
    picture = None if options.no_picture else _demo_picture(options.picture)
    passed = (run_live_demo if options.live else run_demo)(lines.append if context.json else print, picture=picture)
    if context.json:
        print(as_json({"passed": passed, "picture": picture and str(picture), "steps": lines}))
    return 0 if passed else 1


def _demo_picture(named: Path | None) -> Path:
    """Where the demo's drawing goes; says so where that is not the usual place."""
    picture = new_path(named, DEMO_PICTURE, option="--picture")
    if named is None and picture != DEMO_PICTURE:
        say(f"{DEMO_PICTURE} exists already and stays: the drawing goes to {picture}")
    return picture
