"""Every kernel variant against the scalar one: a variant that gains under 1.3 x goes.

python benchmarks/kernels.py [--rounds 1000] [--write docs/kernels.md]

Builds kernels_run.cpp with the extension's flags for this machine and, where the tools are there (Debian:
g++-aarch64-linux-gnu qemu-user-static binutils-aarch64-linux-gnu llvm-19), for aarch64. This machine's processor is
timed. For Arm one call is traced under qemu, instruction by instruction, and llvm-mca estimates what that very sequence
costs: a static estimate, not timed on hardware.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from readme import write_between_markers

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["-std=c++20", "-O3", "-ffp-contract=off", f"-I{ROOT / 'native/core'}"]
CROSS = "aarch64-linux-gnu-"
QEMU = ["qemu-aarch64-static", "-cpu", "cortex-a76"]
MCA = "llvm-mca-19"
# LLVM 19 estimates both Cortex-A72 and Cortex-A76 with its model of the A57; Neoverse N1 is the A76's server twin.
CORES = {"A72": "cortex-a72", "A76": "neoverse-n1"}


@dataclass(frozen=True)
class Work:
    """One variant's function and the piece of work it is measured on."""

    variant: str
    kernel: str
    case: str
    unit: str

    @property
    def label(self) -> str:
        """By which kernels_run knows the case."""
        return f"{self.kernel} {self.case}"


def _output(*command: str | Path) -> str:
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout


def _build(compiler: str, folder: Path, *flags: str) -> Path:
    sources = [*sorted((ROOT / "native/core").glob("kernels*.cpp")), ROOT / "native/core/dispatch.cpp"]
    program = folder / f"{compiler}-kernels_run"
    _output(compiler, *FLAGS, *flags, ROOT / "benchmarks/kernels_run.cpp", *sources, "-o", program)
    return program


def _works(*program: str | Path) -> list[Work]:
    return [Work(*line.split("\t")) for line in _output(*program, "list").splitlines()]


def _row(work: Work, cells: list[str]) -> str:
    return f"| {work.kernel} ({work.case}) | {work.variant} | {' | '.join(cells)} |"


def timed(folder: Path, rounds: int) -> list[str]:
    """This machine's table: medians, variants in turn, and executed instructions where valgrind counts them."""
    program = _build("g++", folder)
    lines = [
        f"{platform.machine()}, {_processor()}, n = {rounds}, medians, {datetime.date.today().isoformat()}.",
        "",
        "| kernel | variant | ns per element | gain | instructions per element | ratio |",
        "|---|---|---:|---:|---:|---:|",
    ]
    times: dict[tuple[str, str], float] = {}
    works = _works(program)
    for label in dict.fromkeys(w.label for w in works):
        for line in _output(program, "time", label, str(rounds)).splitlines():
            variant, median, elements = line.split("\t")
            times[label, variant] = float(median) / int(elements)
    counts = {(w.label, w.variant): _counted(program, w, folder) for w in works} if shutil.which("valgrind") else {}
    for w in works:
        ns, slowest = times[w.label, w.variant], times[w.label, "scalar"]
        cells = [f"{ns:.3f}", f"{slowest / ns:.2f}"]
        count = counts.get((w.label, w.variant))
        cells += [f"{count:.2f}", f"{counts[w.label, 'scalar'] / count:.2f}"] if count else ["", ""]
        lines.append(_row(w, cells))
    return lines


def _processor() -> str:
    match = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return match[1].strip() if match else "unknown processor"


def _counted(program: Path, work: Work, folder: Path) -> float:
    """Executed instructions per element; 0 for what valgrind does not run, such as AVX-512."""
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder / 'callgrind'}"]
    command = [*valgrind, "--toggle-collect=traced_call", str(program), "once", work.variant, work.label]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode == -signal.SIGILL:
        return 0.0
    done.check_returncode()
    match = re.search(r"Collected : (\d+)", done.stderr)
    if match is None:
        raise RuntimeError(f"expected callgrind's count of instructions, got {done.stderr[-200:]}")
    return int(match[1]) / int(done.stdout)


def _instructions(program: Path) -> dict[int, str]:
    """The kernels' instructions by address, as llvm-mca reads them; branches and calls go to the next one traced."""
    listing: dict[int, str] = {}
    ours = False
    for line in _output(f"{CROSS}objdump", "-d", "--no-show-raw-insn", program).splitlines():
        if symbol := re.match(r"[0-9a-f]+ <(.*)>:", line):
            ours = symbol[1].startswith("_ZN7facesdk") and not re.search(r"8variants|7kernelsEv", symbol[1])
        found = re.match(r"\s+([0-9a-f]+):\t(.*)", line)
        if not found or not ours:
            continue
        text = found[2].split("//")[0].strip()
        text = re.sub(r"\b[0-9a-f]{4,} <[^>]*>", "#4096" if text.startswith("adrp") else "#4", text)
        listing[int(found[1], 16)] = "b\t#4" if re.match(r"(bl|blr|br|ret)\b", text) else text
    return listing


def _trace(program: Path, work: Work, listing: dict[int, str], folder: Path) -> tuple[list[str], int]:
    """The instructions that one call executes, in order, and how many elements it works on."""
    log = folder / "trace"
    command = [*QEMU, "-singlestep", "-d", "exec,nochain", "-dfilter", f"{min(listing):#x}..{max(listing) + 4:#x}"]
    elements = int(_output(*command, "-D", log, program, "once", work.variant, work.label))
    executed = []
    for line in log.read_text(encoding="utf-8").splitlines():
        address = int(line.split("/")[1], 16) if line.startswith("Trace") else 0
        if address in listing:
            executed.append(listing[address])
    return executed, elements


def _cycles(executed: list[str], core: str, folder: Path) -> int:
    source = folder / "executed.s"
    source.write_text("\n".join(executed) + "\n", encoding="utf-8")
    quiet = ["-iterations=1", "-resource-pressure=false", "-instruction-info=false"]
    text = _output(MCA, "-mtriple=aarch64", f"-mcpu={core}", "-mattr=+dotprod", *quiet, source)
    match = re.search(r"Total Cycles:\s+(\d+)", text)
    if match is None:
        raise RuntimeError(f"expected llvm-mca's total of cycles, got {text[:200]}")
    return int(match[1])


def estimated(folder: Path) -> list[str]:
    """Arm's table: instructions executed under qemu, and cycles by llvm-mca of the sequence executed."""
    program = _build(f"{CROSS}g++", folder, "-static", "-no-pie")
    listing = _instructions(program)
    lines = [
        f"aarch64: static estimate, not timed on hardware (qemu's instructions, {MCA}; all loads hit the first cache).",
        "",
        "| kernel | variant | instructions per element | ratio | A72 cycles | gain | A76 cycles | gain |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    figures: dict[tuple[str, str], list[float]] = {}
    works = _works(QEMU[0], program)
    for w in works:
        executed, elements = _trace(program, w, listing, folder)
        cycles = [_cycles(executed, core, folder) for core in CORES.values()]
        figures[w.label, w.variant] = [value / elements for value in (len(executed), *cycles)]
    for w in works:
        pairs = zip(figures[w.label, w.variant], figures[w.label, "scalar"], strict=True)
        lines.append(_row(w, [cell for own, scalar in pairs for cell in (f"{own:.3f}", f"{scalar / own:.2f}")]))
    return lines


def main() -> int:
    """Prints the tables, writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    missing = [t for t in (f"{CROSS}g++", f"{CROSS}objdump", QEMU[0], MCA) if shutil.which(t) is None]
    with tempfile.TemporaryDirectory() as name:
        lines = timed(Path(name), arguments.rounds)
        if missing:
            print(f"aarch64 is left out, missing: {' '.join(missing)}", file=sys.stderr)
        else:
            lines += ["", *estimated(Path(name))]
    text = "\n".join(lines)
    print(text)
    if arguments.write and missing:
        parser.error(f"a table without aarch64 is not written; missing: {' '.join(missing)}")
    if arguments.write:
        write_between_markers(arguments.write, "kernels", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
