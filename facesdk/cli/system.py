"""Commands about the machine and the package: doctor, models, bench, demo."""

from __future__ import annotations

import argparse
import json

from facesdk.cli.common import show


def doctor(arguments: argparse.Namespace) -> int:
    """Says what is installed."""
    from facesdk.doctor import examine

    facts = examine()
    runtime = facts["runtime"]
    chosen = f"{runtime['name']} {runtime['version']}" if runtime["usable"] else "none"
    lines = [
        f"machine   {facts['machine']}, {facts['system']}, Python {facts['python']}",
        *(f"package   {name} {version or 'not installed'}" for name, version in facts["packages"].items()),
        f"kernels   {facts['kernels']['used']} (usable: {', '.join(facts['kernels']['usable'])})",
        *(f"model     {name} {'ok' if ok else 'DAMAGED'}" for name, ok in facts["models"].items()),
        f"runtime   {chosen}: {runtime['reason']}",
        *(f"          {name}: {r['reason']}" for name, r in facts["runtimes"].items() if not r["usable"]),
        f"camera    {facts['camera']}",
        f"liveness  {facts['liveness']}",
    ]
    show(arguments, facts, lines)
    if not all(facts["models"].values()):
        return 6
    return 0 if runtime["usable"] else 5


def models(arguments: argparse.Namespace) -> int:
    """Lists the models and checks their hashes."""
    from facesdk.doctor import check_models

    rows = check_models()
    lines = [f"{'ok ' if r['ok'] else 'BAD'} {r['name']} {r['version']} ({r['licence']}) {r['size']} bytes\n"
             f"    sha256 {r['sha256']}\n    from {r['origin']}" for r in rows]  # fmt: skip
    show(arguments, {"models": rows}, [*lines, *(r["problem"] for r in rows if r["problem"])])
    return 0 if all(r["ok"] for r in rows) else 6


def bench(arguments: argparse.Namespace) -> int:
    """Times the networks and the pipeline."""
    from facesdk.bench import run_bench
    from facesdk.engine import Engine

    engine = Engine(arguments.embedder or "joint", threads=arguments.threads, runtime=arguments.runtime)
    result = run_bench(engine, rounds=arguments.rounds)
    lines = [f"{name:24} {ms:8.2f} ms" for name, ms in result["invoke_ms"].items()]
    frame = f"{result['pipeline_ms']:8.2f} ms  ({result['overhead']:.3f} x, n = {result['n']})"
    lines += [f"{'all networks':24} {result['bare_invoke_ms']:8.2f} ms", f"{'frame to features':24} {frame}"]
    show(arguments, result, lines)
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Runs the demo."""
    from facesdk.demo import run_demo

    lines: list[str] = []
    picture = None if arguments.no_picture else arguments.picture
    passed = run_demo(lines.append if arguments.json else print, picture=picture)
    if arguments.json:
        print(json.dumps({"passed": passed, "picture": picture and str(picture), "steps": lines}))
    return 0 if passed else 1
