"""How long one inference of each network takes on Raspberry Pi boards, estimated without a board.

One thread, with the runtime that facesdk chooses there. An emulated Python (qemu-user) runs each network; the program
beside this one, count_blocks.cpp, counts from the emulator's log how often each block of instructions ran in one
inference after a first one. llvm-mca says how many cycles a block takes when it is repeated, by LLVM's scheduling model
of the processor; executions times cycles, summed over the blocks, is the estimate. Blocks that together make up 99 % of
the executed instructions are costed, the rest at their mean. Only the runtime's library counts, not the C library.

Not modelled: caches, memory, mispredicted branches, system calls, other programs, and clocks lowered by heat.

    g++ -O2 -o count_blocks benchmarks/count_blocks.cpp
    python benchmarks/board_estimates.py --run "RUN -b MODELS" --counter ./count_blocks \\
      --llvm /usr/lib/llvm-19/bin --keep counts MODELS/*.tflite

RUN is a command that runs another one under qemu-user, in an aarch64 environment that has facesdk and sees the current
folder and the models at the same path; QEMU_CPU picks its processor.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COSTED = 0.99
ITERATIONS = (100, 200)  # cycles of the second less those of the first: the start and the end of a run are in neither


@dataclass(frozen=True)
class Board:
    """A board: the processor to emulate, the one whose scheduling model LLVM is asked for, and its clock."""

    name: str
    emulated: str
    modelled: str
    gigahertz: float
    in_order: bool = False


# LLVM gives cortex-a72 and cortex-a76 the model of Cortex-A57; Neoverse N1, the server version of Cortex-A76, has its
# own. With the model of Cortex-A53, llvm-mca lets no instruction write its result before an older one, so that a load
# waits for the multiplication before it; that of Cortex-A55, its successor, with vector units as wide, comes nearer.
BOARDS = (
    Board("Pi 4", "cortex-a72", "cortex-a72", 1.5),
    Board("Pi 5", "cortex-a76", "neoverse-n1", 2.4),
    Board("Zero 2 W", "cortex-a53", "cortex-a55", 1.0, in_order=True),
)

# What the emulated Python runs. getppid() is the mark that the counter looks for. It prints the runtime, and where the
# code of its library is.
GUEST = """
import mmap, os, sys
import numpy
from facesdk.engine.runtime import choose_runtime
runtime = choose_runtime(threads=1)
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        network = runtime.make_network(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    form = network.input_info
    some = numpy.arange(-125, 126) if form["dtype"] == "int8" else numpy.arange(251) / 251
    values = numpy.resize(some, form["shape"]).astype(form["dtype"])
    network.run(values)
    os.getppid()
    network.run(values)
    os.getppid()
print(f"{runtime.name} {runtime.version}")
with open("/proc/self/maps") as maps:
    code = [line.split()[0] for line in maps if "/libLiteRt.so" in line and " r-xp " in line]
print(",".join("0x{}..0x{}".format(*addresses.split("-")) for addresses in code))
"""


@dataclass(frozen=True)
class Block:
    """Instructions that run one after another, as words, and how often they did in one inference."""

    executions: int
    words: tuple[str, ...]

    @property
    def instructions(self) -> int:
        """Instructions executed in all."""
        return self.executions * len(self.words)


@dataclass(frozen=True)
class Estimate:
    """One inference of one network on one processor."""

    cycles: float
    instructions: int
    blocks: int
    costed_blocks: int
    costed: float  # the part of the instructions that are in costed blocks
    system_calls: int


def emulate(run: Sequence[str], counter: Path, processor: str, models: Sequence[Path], counts: Path) -> None:
    """Writes what the counter counts for each model to `counts`, after a line with the runtime's name and version.

    Only blocks of the runtime's library are logged, a log of all takes many times longer: where its code is, a first
    run tells, which logs nothing.
    """
    environment = {**os.environ, "QEMU_CPU": processor}
    program = ["python", "-c", GUEST, *(str(model.resolve()) for model in models)]
    told = subprocess.run([*run, *program], env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    runtime, code = told.splitlines()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        log = Path(folder).resolve() / "log"
        os.mkfifo(log)
        logging = ["env", "QEMU_LOG=exec,nochain,strace,in_asm", f"QEMU_LOG_FILENAME={log}", f"QEMU_DFILTER={code}"]
        counted = Path(folder) / "counted"
        with counted.open("w") as kept, subprocess.Popen([counter.resolve(), log], stdout=kept) as counting:
            ran = subprocess.run([*run, *logging, *program], env=environment, stdout=subprocess.PIPE, text=True)
            if ran.returncode or ran.stdout != told:
                counting.kill()
                raise SystemExit(f"the emulated Python failed on {processor}, or its runtime was elsewhere each time")
        blocks = counted.read_text(encoding="ascii")
    if counting.returncode or blocks.count("span") != len(models):
        raise SystemExit(f"the blocks of {len(models)} networks could not be counted on {processor}")
    counts.write_text(f"{runtime}\n{blocks}", encoding="ascii")


def read_counts(counts: Path) -> tuple[str, list[tuple[int, list[Block]]]]:
    """The runtime, and for each network the system calls and the blocks, those with most instructions first."""
    runtime, *lines = counts.read_text(encoding="ascii").splitlines()
    spans: list[tuple[int, list[Block]]] = []
    for line in lines:
        first, *rest = line.split()
        if first == "span":
            spans.append((int(rest[0]), []))
        else:
            spans[-1][1].append(Block(int(first), tuple(rest)))
    for _, blocks in spans:
        blocks.sort(key=lambda block: -block.instructions)
    return runtime, spans


def disassemble(llvm: Path, words: Sequence[str]) -> dict[str, str]:
    """The assembly of each instruction. Calls become jumps: llvm-mca takes 100 cycles for a call."""
    code = "\n".join(" ".join(f"0x{byte:02x}" for byte in int(word, 16).to_bytes(4, "little")) for word in words)
    command = [str(llvm / "llvm-mc"), "--disassemble", "--triple=aarch64", "--mattr=+all"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, check=True)
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip() and not line.strip().startswith(".")]
    if len(lines) != len(words):
        raise SystemExit(f"llvm-mc knows {len(lines)} of {len(words)} instructions:\n{done.stderr}")
    return {word: re.sub(r"^bl(r?)\b", r"b\1", line) for word, line in zip(words, lines, strict=True)}


def without_update(line: str) -> str:
    """A load or store without what it adds to its address register afterwards."""
    return re.sub(r"^((?:ld|st).*\]), (?:#-?\d+|x\d+)$", r"\1", line)


def cycles_of(llvm: Path, board: Board, blocks: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
    """The cycles that each block takes when it is repeated without end.

    In order, LLVM lets the next load wait for an updated address as long as for loaded data, so updates are left out.
    """
    assembly = disassemble(llvm, sorted({word for words in blocks for word in words}))
    if board.in_order:
        assembly = {word: without_update(line) for word, line in assembly.items()}
    regions = [
        "\n".join([f"# LLVM-MCA-BEGIN {place}", *(assembly[word] for word in words), "# LLVM-MCA-END"])
        for place, words in enumerate(blocks)
    ]
    totals: list[list[int]] = []
    for iterations in ITERATIONS:
        command = [
            str(llvm / "llvm-mca"),
            "--mtriple=aarch64",
            f"--mcpu={board.modelled}",
            f"--iterations={iterations}",
        ]
        command += ["--instruction-info=0", "--resource-pressure=0"]
        done = subprocess.run(command, input="\n".join(regions) + "\n", capture_output=True, text=True)
        totals.append([int(total) for total in re.findall(r"^Total Cycles: +(\d+)", done.stdout, re.MULTILINE)])
        if done.returncode or len(totals[-1]) != len(blocks):
            raise SystemExit(f"llvm-mca took {len(totals[-1])} of {len(blocks)} blocks:\n{done.stderr[:4000]}")
    few, many = ITERATIONS
    return {words: (after - before) / (many - few) for words, before, after in zip(blocks, *totals, strict=True)}


def scheduling_model(llvm: Path, processor: str) -> str:
    """The scheduling model that LLVM has for a processor, by the names of its units: A57 for A57UnitB."""
    command = [str(llvm / "llvm-mca"), "--mtriple=aarch64", f"--mcpu={processor}"]
    said = subprocess.run(command, input="nop\n", capture_output=True, text=True, check=True).stdout
    found = re.search(r" - (\w+)Unit", said)
    return found[1] if found else "unknown"


def heaviest(blocks: Sequence[Block]) -> list[Block]:
    """The first blocks that together have the costed part of the instructions."""
    wanted = COSTED * sum(block.instructions for block in blocks)
    chosen: list[Block] = []
    for block in blocks:
        if wanted <= 0:
            break
        chosen.append(block)
        wanted -= block.instructions
    return chosen


def estimate(llvm: Path, board: Board, spans: Sequence[tuple[int, list[Block]]]) -> list[Estimate]:
    """The estimate for each network."""
    chosen = [heaviest(blocks) for _, blocks in spans]
    cycles = cycles_of(llvm, board, sorted({block.words for blocks in chosen for block in blocks}))
    estimates = []
    for (system_calls, blocks), costed in zip(spans, chosen, strict=True):
        executed = sum(block.instructions for block in blocks)
        part = sum(block.instructions for block in costed) / executed
        taken = sum(block.executions * cycles[block.words] for block in costed) / part
        estimates.append(Estimate(taken, executed, len(blocks), len(costed), part, system_calls))
    return estimates


def first_line(*command: str | Path) -> str:
    """What a tool says of its version."""
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r".*version.*", said)
    return found[0].strip() if found else "unknown version"


def main() -> None:
    """Prints the table in Markdown, and how it came about on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="files of networks")
    parser.add_argument("--run", required=True, type=shlex.split, help="command that runs another one under qemu-user")
    parser.add_argument("--counter", required=True, type=Path, help="count_blocks.cpp, compiled")
    parser.add_argument("--llvm", required=True, type=Path, help="folder of llvm-mc and llvm-mca, 19 or later")
    parser.add_argument("--qemu", default="qemu-aarch64-static", help="the emulator, asked for its version alone")
    parser.add_argument("--keep", required=True, type=Path, help="folder of the counts; those that are there are used")
    arguments = parser.parse_args()
    arguments.keep.mkdir(exist_ok=True)
    by_board: list[list[Estimate]] = []
    for board in BOARDS:
        counts = arguments.keep / f"{board.emulated}.counts"
        if not counts.exists():
            emulate(arguments.run, arguments.counter, board.emulated, arguments.models, counts)
        runtime, spans = read_counts(counts)
        by_board.append(estimate(arguments.llvm, board, spans))
        model = scheduling_model(arguments.llvm, board.modelled)
        print(
            f"{board.name}: {board.emulated} at {board.gigahertz} GHz; LLVM's {board.modelled}, units of {model}",
            file=sys.stderr,
        )
        for path, one in zip(arguments.models, by_board[-1], strict=True):
            print(
                f"  {path.stem}: {one.instructions / 1e6:.1f} M instructions, {one.cycles / 1e6:.1f} M cycles, "
                f"{one.instructions / one.cycles:.2f} a cycle, {one.blocks} blocks, {one.costed_blocks} costed with "
                f"{one.costed:.2%} of the instructions, {one.system_calls} system calls",
                file=sys.stderr,
            )
    today = datetime.date.today().isoformat()
    tools = f"{first_line(arguments.qemu, '--version')}; {first_line(arguments.llvm / 'llvm-mca', '--version')}"
    print(f"Estimated on {today}, no board was at hand: one inference, one thread, {runtime}; {tools}.\n")
    print("| network | " + " | ".join(f"{board.name}, ms" for board in BOARDS) + " | instructions (A72) |")
    print("| --- |" + " ---: |" * (len(BOARDS) + 1))
    for path, row in zip(arguments.models, zip(*by_board, strict=True), strict=True):
        times = [f"{one.cycles / board.gigahertz / 1e6:.1f}" for board, one in zip(BOARDS, row, strict=True)]
        print(f"| {path.stem} | {' | '.join(times)} | {row[0].instructions / 1e6:.1f} M |")


if __name__ == "__main__":
    main()
