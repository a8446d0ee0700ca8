"""What board this is and how it fares: cores, memory, heat, throttling, power; and what to run on it.

Everything is read below a root folder, "/" unless a test gives its own. Nothing that names a machine or a person (host
name, serial number, MAC address) is read out of what is there.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from facesdk.engine.threads import BIG_SHARE, MOST_AUTO

ROOT = Path("/")
# Source: arch/arm64/include/asm/cputype.h of Linux, implementer 0x41.
ARM_PARTS = {
    "0xc07": "Cortex-A7", "0xd03": "Cortex-A53", "0xd04": "Cortex-A35", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72", "0xd09": "Cortex-A73", "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd0d": "Cortex-A77",
    "0xd41": "Cortex-A78",
}  # fmt: skip
# What is worth knowing of the features that the kernel lists.
FEATURES = ("asimd", "asimddp", "i8mm", "fphp", "asimdhp", "neon", "sse4_1", "sse4_2", "avx", "avx2", "avx512f",
            "avx512_vnni", "avx_vnni")  # fmt: skip
# Parts of the device tree's model (Coral's boards bear their code name) and the kind of board.
KINDS = (
    ("Raspberry Pi Zero 2", "pi-zero-2-w"), ("Raspberry Pi 3", "pi-3"), ("Raspberry Pi Compute Module 3", "pi-3"),
    ("Raspberry Pi 4", "pi-4"), ("Raspberry Pi Compute Module 4", "pi-4"), ("Raspberry Pi 5", "pi-5"),
    ("Raspberry Pi Compute Module 5", "pi-5"), ("Phanbell", "coral-dev-board"),
)  # fmt: skip
# Bits of the firmware's word; the same shifted by 16: happened since the start. Source: vcgencmd get_throttled in
# https://www.raspberrypi.com/documentation/computers/os.html
PI_BITS = ((0, "under-voltage"), (1, "frequency capped"), (2, "throttled"), (3, "soft temperature limit"))
PI_WORD = "sys/devices/platform/soc/soc:firmware/get_throttled"
PI_TOOLS = "/usr/bin:/opt/vc/bin"  # where its system has vcgencmd; PATH may name another program
# Under load a core runs at its limit; below this share of what the processor can, something holds it back.
HELD_SHARE = 0.9


@dataclass(frozen=True)
class Core:
    """A logical processor: its number, part ("Cortex-A72", "0xd99", or None off Arm), capacity of 1024 or None."""

    number: int
    part: str | None
    capacity: int | None


@dataclass(frozen=True)
class Board:
    """kind: one of KINDS, else "other". model: as the board names itself, or None. page_size in bytes."""

    kind: str
    model: str | None
    machine: str
    processor: str | None
    cores: tuple[Core, ...]
    features: tuple[str, ...]
    memory_mib: int | None
    page_size: int

    @property
    def big_cores(self) -> tuple[int, ...]:
        """Numbers of the fastest cores by the kernel's cpu_capacity; all where they are equal or it does not say."""
        capacities = {core.number: core.capacity or 0 for core in self.cores}
        largest = max(capacities.values(), default=0)
        return tuple(n for n, capacity in capacities.items() if capacity >= BIG_SHARE * largest)


@dataclass(frozen=True)
class Recommendation:
    """What to give to Engine on a board, and why."""

    embedder: str
    threads: int
    reason: str


def _text(path: Path) -> str | None:
    """The file's text without NULs and white space at its ends; None where there is none, or it may not be read."""
    try:
        return path.read_bytes().decode("utf-8", "replace").strip("\0 \t\n") or None
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,19}", text) else None


def _sorted(root: Path, pattern: str) -> list[Path]:
    """Matches in the order of the number at the end of their names."""
    return sorted(root.glob(pattern), key=lambda p: int(re.sub(r"\D", "", p.name) or 0))


def _cpuinfo(root: Path) -> list[dict[str, str]]:
    """One dictionary a block. A Raspberry Pi's last block has its serial number: it is left out by its key."""
    blocks = []
    for block in (_text(root / "proc/cpuinfo") or "").split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        found = {key.strip(): value.strip() for key, _, value in pairs if key.strip() != "Serial"}
        if "processor" in found:
            blocks.append(found)
    return blocks


def read_board(root: Path = ROOT) -> Board:
    """The board below root; what cannot be read is None or empty."""
    model = _text(root / "proc/device-tree/model") or _text(root / "sys/class/dmi/id/product_name")
    model = re.sub(r"[^ -~]", "", model)[:80] if model else None
    kind = next((kind for part, kind in KINDS if part in (model or "")), "other")
    blocks = _cpuinfo(root)
    cores = []
    for block in blocks:
        number, part = int(block["processor"]), block.get("CPU part")
        capacity = _number(root / f"sys/devices/system/cpu/cpu{number}/cpu_capacity")
        cores.append(Core(number, ARM_PARTS.get(part, part) if part else None, capacity))
    first = blocks[0] if blocks else {}
    listed = set((first.get("Features") or first.get("flags") or "").split())
    memory = re.search(r"^MemTotal:\s*(\d+) kB", _text(root / "proc/meminfo") or "", re.MULTILINE)
    return Board(
        kind, model, platform.machine(), first.get("model name"), tuple(cores),
        tuple(name for name in FEATURES if name in listed), int(memory[1]) // 1024 if memory else None,
        os.sysconf("SC_PAGESIZE"),
    )  # fmt: skip


def recommend(board: Board | None = None) -> Recommendation:
    """Embedder and threads for a board. Rules of thumb: no board was timed (docs/boards.md says what was measured)."""
    board = board or read_board()
    threads = max(1, min(MOST_AUTO, len(board.big_cores)))
    return Recommendation("sface", threads, "the fewest misses where the false match rate holds for everybody")


def pin_to_big_cores(root: Path = ROOT) -> set[int]:
    """The processors that this thread, and every thread it starts from now on, may run on: the board's big cores.

    Call it before making an Engine, whose threads inherit it. Where all cores are equal, or this process may use none
    of the big ones, nothing changes.
    """
    allowed = os.sched_getaffinity(0)
    board = read_board(root)
    chosen = allowed & set(board.big_cores)
    if chosen and len(board.big_cores) < len(board.cores):
        os.sched_setaffinity(0, chosen)
        return chosen
    return allowed


def temperatures(root: Path = ROOT) -> dict[str, float]:
    """Degrees Celsius of each thermal zone, and of Edge TPUs on PCIe."""
    found = {}
    for zone in _sorted(root, "sys/class/thermal/thermal_zone*"):
        degrees = _number(zone / "temp")
        if degrees is not None:
            name = _text(zone / "type") or zone.name
            found[name if name not in found else f"{name} ({zone.name})"] = degrees / 1000
    for device in _sorted(root, "sys/class/apex/apex_*"):
        degrees = _number(device / "temp")
        if degrees is not None:
            found[device.name] = degrees / 1000
    return found


def throttling(root: Path = ROOT, *, busy: bool = False) -> str | None:
    """Why the processor is, or since its start was, slower than it could be; None where nothing says so.

    busy: the caller has just kept a core busy, so that a low clock counts too (on Arm; x86-64's highest clock is one
    that it never holds).
    """
    reasons = [*_firmware(root), *_clocks(root, busy=busy), *_cooling(root)]
    return "; ".join(reasons) or None


def _firmware(root: Path) -> list[str]:
    """What a Raspberry Pi's firmware says, from the kernel's file or its own tool."""
    text = _text(root / PI_WORD)
    tool = shutil.which("vcgencmd", path=PI_TOOLS) if text is None and root == ROOT else None
    if tool is not None:
        try:
            done = subprocess.run([tool, "get_throttled"], capture_output=True, text=True, timeout=5, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return []
        text = done.stdout.strip().removeprefix("throttled=")
    if text is None or not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text):
        return []
    word = int(text, 16)
    now = [name for bit, name in PI_BITS if word >> bit & 1]
    earlier = [name for bit, name in PI_BITS if word >> (bit + 16) & 1 and not word >> bit & 1]
    return [f"now: {', '.join(now)}"] * bool(now) + [f"since the start: {', '.join(earlier)}"] * bool(earlier)


def _clocks(root: Path, *, busy: bool) -> list[str]:
    """Cores whose clock is limited below what they can do, or, when busy, whose fastest is well below that."""
    limited: list[str] = []
    clocks: list[tuple[int, int]] = []
    for core in _sorted(root, "sys/devices/system/cpu/cpu[0-9]*"):
        names = ("cpuinfo_max_freq", "scaling_max_freq", "scaling_cur_freq")
        most, limit, now = (_number(core / "cpufreq" / name) for name in names)
        if most and limit and limit < most:
            limited.append(f"{core.name} is limited to {limit // 1000} of {most // 1000} MHz")
        if most and now:
            clocks.append((now, most))
    driver = _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver") or ""
    if busy and clocks and not limited and not driver.startswith(("intel", "amd", "acpi")):
        now, most = max(clocks, key=lambda pair: pair[0] / pair[1])
        if now < HELD_SHARE * most:
            governor = _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
            limited.append(f"{now // 1000} of {most // 1000} MHz under load (governor {governor})")
    return limited


def _cooling(root: Path) -> list[str]:
    """Cooling devices at work that cool by slowing the processor; fans do not count."""
    reasons = []
    for device in _sorted(root, "sys/class/thermal/cooling_device*"):
        kind, state = _text(device / "type") or "", _number(device / "cur_state")
        if state is not None and state > 0 and re.search(r"cpufreq|powerclamp|^Processor$", kind):
            reasons.append(f"the kernel cools by {kind}, step {state} of {_number(device / 'max_state')}")
    return reasons


def energy_j(root: Path = ROOT) -> dict[str, tuple[float, float]]:
    """(joules counted so far, joules at which it wraps) of each processor package with RAPL; usually root's to read."""
    found = {}
    for zone in _sorted(root, "sys/class/powercap/intel-rapl:*"):
        counted, wraps = _number(zone / "energy_uj"), _number(zone / "max_energy_range_uj")
        if re.fullmatch(r"intel-rapl:\d+", zone.name) and counted is not None and wraps is not None:
            found[zone.name] = counted / 1e6, wraps / 1e6
    return found


def power_w(root: Path = ROOT) -> dict[str, float]:
    """Watts that INA sensors show now (power1_input, or the sum of voltage times current of an INA3221's channels)."""
    found = {}
    for sensor in _sorted(root, "sys/class/hwmon/hwmon*"):
        name = _text(sensor / "name") or ""
        if not name.startswith("ina"):
            continue
        microwatts = _number(sensor / "power1_input")
        if microwatts is None:
            pairs = [(_number(sensor / f"in{i}_input"), _number(sensor / f"curr{i}_input")) for i in (1, 2, 3)]
            products = [volts * amperes for volts, amperes in pairs if volts is not None and amperes is not None]
            microwatts = sum(products) if products else None
        if microwatts is not None:
            found[f"{name} ({sensor.name})"] = microwatts / 1e6
    return found
