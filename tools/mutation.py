"""Which changes of the deciding modules does no test notice?

python tools/mutation.py [--per-module N] [--seed S] [--module NAME ...] [--list]

One change at a time (cosmic-ray's operators and one of our own) is made in a copy of the tree, and the test files that
tools/mutation.toml names for the module are run on it. --module: only these, such as vault/vault; --per-module: a
sample of each. Results are kept in .cache/mutation.json, so that a run that was broken off goes on: a killed change
stays killed, one that survived is tried again once a test file has changed. Delete the file to measure all anew.
One run at a time, and no other tests beside it: some forget whatever of ours is in the user's keyring of the kernel.

Prints the changes that survived and a table. Exits with 1 where fewer than 92 % were killed of those that are not
listed as meaning nothing, and with 2 where the list names a change that cannot be made any more.

Not changed: annotations, what is only for type checkers, protocols, f-strings, __repr__, the bare * of a list of
parameters; strings, docstrings and imports, which no operator knows.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".cache" / "mutation.json"
ENOUGH = 0.92
LEFT_OUT = ("__pycache__", "dist", "benchmarks")  # of the copy, as is whatever begins with a dot
# The opposite and the neighbour of each comparison, one other for each arithmetic operator: the many others that
# cosmic-ray has die of a TypeError and only make the share look better.
COMPARISONS = ("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt", "Eq_NotEq", "NotEq_Eq",
               "Is_IsNot", "IsNot_Is")  # fmt: skip
ARITHMETIC = ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul", "LShift_RShift",
              "RShift_LShift", "BitOr_BitAnd", "BitAnd_BitOr")  # fmt: skip
STOCK = (
    "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "NumberReplacer",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ExceptionReplacer", "RemoveDecorator",
    "ZeroIterationForLoop", "ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not",
    *(f"ReplaceComparisonOperator_{pair}" for pair in COMPARISONS),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ARITHMETIC),
)  # fmt: skip
# Examples are found, not searched for the smallest, the same ones in every run; a slow machine kills nothing.
PLUGIN = """
from hypothesis import HealthCheck, Phase, settings
settings.register_profile(
    "mutation", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate], deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mutation")
"""


class RemoveStatement(Operator):
    """Leaves out a statement that is there for what it does: a bare call, raise, del, or an attribute or item set."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        if node.type != "simple_stmt":
            return
        first = node.children[0]
        called = first.type in ("atom_expr", "power") and first.children[-1].get_code().startswith("(")
        kept = first.type == "expr_stmt" and first.children[0].type in ("atom_expr", "power")
        if called or kept or first.type in ("raise_stmt", "del_stmt") or first.get_code().strip() == "raise":
            yield first.start_pos, first.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        first = node.children[0]
        node.children[0] = Name("pass", first.start_pos, first.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        return ()


@dataclass(frozen=True)
class Mutant:
    """One change: before and after are the changed lines, each without its indentation, joined by a space."""

    module: str
    where: str
    before: str
    after: str
    code: str

    @property
    def name(self) -> tuple[str, str, str, str]:
        """What the list names it by, so that it is found again when lines move."""
        return self.module, self.where, self.before, self.after

    @property
    def digest(self) -> str:
        return sha256(self.code.encode()).hexdigest()


# --- which changes there are


def _annotation(node: Any) -> Any:
    return node.children[2 if node.type == "tfpdef" else 1]


def _is_for_types_alone(node: Any) -> bool:
    """Whether nothing in this node is to be changed: see the top of this file."""
    kind = node.type
    parent = node.parent
    if kind == "funcdef":
        return node.name.value in ("__repr__", "__str__")
    if kind == "classdef":
        return "Protocol" in node.children[3].get_code() if node.children[2] == "(" else False
    if kind == "if_stmt":
        return node.children[1].get_code().strip() == "TYPE_CHECKING"
    if kind == "expr_stmt":
        return node.children[1].type == "annassign" and "TypeAlias" in node.children[1].get_code()
    if parent is None:
        return False
    returned = parent.type == "funcdef" and parent.children[3] == "->" and node is parent.children[4]
    annotated = parent.type in ("annassign", "tfpdef") and node is _annotation(parent)
    starred = kind == "operator" and parent.type in ("parameters", "param", "lambdef")
    return kind == "fstring" or returned or annotated or starred


def _skipped(tree: Any) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    return [(node.start_pos, node.end_pos) for node in ast_nodes(tree) if _is_for_types_alone(node)]


def _where(leaf: Any) -> str:
    """The function or class, qualified, that holds the change or is decorated by it; "" outside of any."""
    names = []
    node = leaf
    while node.parent is not None:
        outside, node = node, node.parent
        if node.type in ("funcdef", "classdef"):
            names.append(node.name.value)
        elif node.type == "decorated" and outside.type not in ("funcdef", "classdef", "async_funcdef"):
            names.append(node.children[-1].name.value)
    return ".".join(reversed(names))


def _changed(old: str, new: str) -> tuple[str, str]:
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm=""))[2:]
    before, after = (" ".join(" ".join(line[1:] for line in lines if line[0] == sign).split()) for sign in "-+")
    return before, after


def mutants(module: str) -> list[Mutant]:
    """All changes of a module of facesdk/, in the order of the operators, none twice."""
    source = (ROOT / "facesdk" / f"{module}.py").read_text()
    tree = get_ast(source)
    unchanged = ast.dump(ast.parse(source))
    skipped = _skipped(tree)
    found: dict[str, Mutant] = {}
    for make in (RemoveStatement, *(get_operator(f"core/{name}") for name in STOCK)):
        positions = [start for node in ast_nodes(tree) for start, _ in make().mutation_positions(node)]
        for occurrence, start in enumerate(positions):
            if any(begin <= start < end for begin, end in skipped):
                continue
            try:
                code = mutate_code(source, make(), occurrence)
                same = ast.dump(ast.parse(code)) == unchanged
            except (SyntaxError, AttributeError):  # cosmic-ray's ExceptionReplacer knows no dotted name
                continue
            if not same:
                before, after = _changed(source, code)
                found.setdefault(code, Mutant(module, _where(tree.get_leaf_for_position(start)), before, after, code))
    return list(found.values())


# --- what the tests make of them


class Trials:
    """Runs tests on a copy of the tree, as a context, and keeps what came of it."""

    def __init__(self, tests: dict[str, list[str]]) -> None:
        self._tests = tests
        self._kept: dict[str, dict[str, Any]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        self._folder = tempfile.TemporaryDirectory(prefix="facesdk-mutation-", ignore_cleanup_errors=True)
        self._copy = Path(self._folder.name) / "tree"

    def __enter__(self) -> Trials:
        def left_out(_: str, names: list[str]) -> list[str]:
            return [name for name in names if name.startswith(".") or name in LEFT_OUT]

        shutil.copytree(ROOT, self._copy, ignore=left_out)
        (self._copy / "mutation_profile.py").write_text(PLUGIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def outcome(self, mutant: Mutant) -> str:
        """killed, survived or timed out; from an earlier run where that still holds."""
        tests = self._digest(mutant.module)
        kept = self._kept.get(mutant.digest)
        if kept and (kept["outcome"] != "survived" or kept["tests"] == tests):
            return str(kept["outcome"])
        limit_s = 20 + 4 * self._unchanged_s(mutant.module)
        path = self._copy / "facesdk" / f"{mutant.module}.py"
        original = path.read_text()
        self._write(path, mutant.code)
        try:
            outcome, took_s = self._run(self._tests[mutant.module], limit_s)
        finally:
            self._write(path, original)
        self._keep(mutant.digest, outcome=outcome, tests=tests, name=mutant.name, took_s=round(took_s, 1))
        return outcome

    def _unchanged_s(self, module: str) -> float:
        """How long the module's tests take with nothing changed; SystemExit where they fail."""
        return sum(self._file_s(name) for name in self._tests[module])

    def _file_s(self, name: str) -> float:
        sources = sorted((self._copy / "facesdk").rglob("*.py"))
        content = b"".join(path.read_bytes() for path in [*sources, self._copy / name])
        key = f"{name} {sha256(content).hexdigest()}"
        if key not in self._kept:
            outcome, took_s = self._run([name], 1800)
            if outcome != "survived":
                sys.exit(f"{name} fails with nothing changed")
            self._keep(key, took_s=round(took_s, 1))
        return float(self._kept[key]["took_s"])

    def _run(self, tests: list[str], limit_s: float) -> tuple[str, float]:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-n0",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "mutation_profile",
        ]
        start = time.monotonic()
        process = subprocess.Popen(
            [*command, *tests], cwd=self._copy, env={**os.environ, "PYTHONPATH": str(self._copy)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            outcome = "killed" if process.wait(limit_s) else "survived"
        except subprocess.TimeoutExpired:
            outcome = "timed out"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return outcome, time.monotonic() - start

    @staticmethod
    def _write(path: Path, code: str) -> None:
        """And without what was compiled of it: that is known by time and size, which two changes can have in common."""
        path.write_text(code)
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def _digest(self, module: str) -> str:
        """Of the module's test files."""
        return sha256(b"".join((self._copy / name).read_bytes() for name in self._tests[module])).hexdigest()

    def _keep(self, key: str, **result: Any) -> None:
        self._kept[key] = result
        KEPT.parent.mkdir(exist_ok=True)
        new = KEPT.with_suffix(".new")
        new.write_text(json.dumps(self._kept, indent=1))
        new.replace(KEPT)


def _row(name: str, there: int, outcomes: list[str]) -> str:
    """A row of the table. there: how many changes can be made."""
    counts = [outcomes.count(kind) for kind in ("killed", "survived", "timed out", "equivalent")]
    tried = len(outcomes) - counts[3]
    share = f"{100 * (tried - counts[1]) / tried:.1f} %" if tried else ""
    return f"| {name} | {there} | {len(outcomes)} | " + " | ".join(map(str, counts)) + f" | {share} |"


def main() -> int:
    config = tomllib.loads((ROOT / "tools" / "mutation.toml").read_text())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-module", type=int, help="how many changes of each module (all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--module", action="append", choices=list(config["tests"]), help="only this one")
    parser.add_argument("--list", action="store_true", help="only print the changes")
    arguments = parser.parse_args()
    listed = {(e["module"], e["where"], e["before"], e["after"]) for e in config.get("nothing", [])}
    there: dict[str, int] = {}
    outcomes: dict[str, list[str]] = {}
    survived: list[Mutant] = []
    stale: set[tuple[str, str, str, str]] = set()
    tests = {module: [f"tests/{name}.py" for name in names] for module, names in config["tests"].items()}
    with Trials(tests) as trials:
        for module in arguments.module or tests:
            found = mutants(module)
            stale |= {name for name in listed if name[0] == module} - {mutant.name for mutant in found}
            there[module] = len(found)
            if arguments.per_module is not None and arguments.per_module < len(found):
                found = random.Random(f"{arguments.seed} {module}").sample(found, arguments.per_module)
            outcomes[module] = []
            for mutant in found:
                if arguments.list:
                    print(*mutant.name, sep="\n  ")
                    continue
                outcome = "equivalent" if mutant.name in listed else trials.outcome(mutant)
                outcomes[module].append(outcome)
                if outcome == "survived":
                    survived.append(mutant)
                    print(*("survived: " + mutant.module, mutant.where, "- " + mutant.before, "+ " + mutant.after),
                          sep="\n  ", flush=True)  # fmt: skip
            print(_row(module, there[module], outcomes[module]), file=sys.stderr, flush=True)
    for name in sorted(stale):
        print("listed, but there is no such change:", *name, sep="\n  ", file=sys.stderr)
    total = [outcome for found in outcomes.values() for outcome in found]
    print("| module | changes | tried | killed | survived | timed out | mean nothing | killed of the rest |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for module in outcomes:
        print(_row(module, there[module], outcomes[module]))
    print(_row("all", sum(there.values()), total))
    if stale:
        return 2
    tried = len(total) - total.count("equivalent")
    return 0 if len(survived) <= (1 - ENOUGH) * tried else 1


if __name__ == "__main__":
    sys.exit(main())
