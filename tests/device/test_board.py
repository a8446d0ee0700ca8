"""Boards as their /proc and /sys show them, the board kit's result, and what the extension asks of a processor."""

from __future__ import annotations

import getpass
import json
import math
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from facesdk import _core
from facesdk.cli import main
from facesdk.device import board, doctor
from facesdk.engine.edgetpu import Device
from facesdk.engine.runtime import LITERT
from facesdk.evaluation import board_report, timing

PI_FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
SECRETS = ("10000000cafebabe", "b8:27:eb:12:34:56", "nadias-pi")


def put(root: Path, files: dict[str, str | int]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def cpuinfo(parts: list[str], features: str) -> str:
    """As an Arm kernel writes it, with the block in which a Raspberry Pi has its serial number."""
    blocks = [f"processor\t: {i}\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n"
              for i, part in enumerate(parts)]  # fmt: skip
    return "\n".join([*blocks, f"Hardware\t: BCM2835\nRevision\t: c03115\nSerial\t\t: {SECRETS[0]}\n"])


def board_tree(root: Path, model: str, *, parts: list[str], kib: int, features: str = PI_FEATURES) -> Path:
    """A made-up / of an Arm board, with what must not be read out of it beside what is."""
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/model").write_bytes(model.encode() + b"\0")
    (root / "proc/device-tree/serial-number").write_bytes(SECRETS[0].encode() + b"\0")
    return put(root, {
        "proc/cpuinfo": cpuinfo(parts, features), "proc/meminfo": f"MemTotal:  {kib} kB\nMemFree: 1 kB",
        "sys/class/net/eth0/address": SECRETS[1], "etc/hostname": SECRETS[2],
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": 48312,
        "sys/class/thermal/cooling_device0/type": "pwm-fan", "sys/class/thermal/cooling_device0/cur_state": 3,
    })  # fmt: skip


BOARDS = {
    "pi-zero-2-w": ("Raspberry Pi Zero 2 W Rev 1.0", "0xd03", 427_000, "sface"),
    "pi-3": ("Raspberry Pi 3 Model B Plus Rev 1.3", "0xd03", 944_000, "sface"),
    "pi-4": ("Raspberry Pi 4 Model B Rev 1.4", "0xd08", 3_884_000, "sface"),
    "pi-5": ("Raspberry Pi 5 Model B Rev 1.0", "0xd0b", 8_257_000, "sface"),
    "coral-dev-board": ("Freescale i.MX8MQ Phanbell", "0xd03", 1_011_000, "sface"),
}


def known_board(root: Path, kind: str) -> Path:
    model, part, kib, _ = BOARDS[kind]
    features = f"{PI_FEATURES} atomics fphp asimdhp asimddp" if part == "0xd0b" else PI_FEATURES
    return board_tree(root, model, parts=[part] * 4, kib=kib, features=features)


@pytest.mark.parametrize("kind", BOARDS)
def test_known_boards(kind, tmp_path) -> None:
    root, part = known_board(tmp_path, kind), board.ARM_PARTS[BOARDS[kind][1]]
    found = board.read_board(root)
    assert (found.kind, [core.part for core in found.cores]) == (kind, [part] * 4)
    assert found.model is not None
    assert found.model.isprintable()
    assert ("asimddp" in found.features) == (part == "Cortex-A76")
    assert found.big_cores == (0, 1, 2, 3)
    advice = board.recommend(found)
    assert (advice.embedder, advice.threads) == (BOARDS[kind][3], 4)
    assert board.temperatures(root) == {"cpu-thermal": 48.312}
    assert board.throttling(root) is None
    assert board.energy_j(root) == board.power_w(root) == {}
    assert not any(secret in repr(found) for secret in SECRETS)


def test_nothing_readable_is_no_error(tmp_path) -> None:
    found = board.read_board(tmp_path)
    assert (found.kind, found.model, found.cores, found.memory_mib) == ("other", None, (), None)
    assert found.page_size == os.sysconf("SC_PAGESIZE")
    assert board.recommend(found).threads == 1
    assert board.temperatures(tmp_path) == {}
    assert board.throttling(tmp_path, busy=True) is None
    put(tmp_path, {
        "sys/class/thermal/thermal_zone0/temp": "hot", board.PI_WORD: "no word", "sys/class/dmi/id/product_name": "Box",
        "proc/cpuinfo": "nonsense", "proc/meminfo": "MemTotal: much",
    })  # fmt: skip
    assert board.read_board(tmp_path).model == "Box"
    assert board.temperatures(tmp_path) == {}
    assert board.throttling(tmp_path) is None


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("0", None), ("0x0", None), ("50005", "now: under-voltage, throttled"),
        ("50000", "since the start: under-voltage, throttled"),
        ("0xa0008", "now: soft temperature limit; since the start: frequency capped"),
    ],
)  # fmt: skip
def test_a_raspberry_pis_firmware_is_asked(tmp_path, word, expected) -> None:
    assert board.throttling(put(tmp_path, {board.PI_WORD: word})) == expected


def test_limited_clocks_and_cooling_are_reasons(tmp_path) -> None:
    core = "sys/devices/system/cpu/cpu0/cpufreq/"
    clock = {f"{core}cpuinfo_max_freq": 1_500_000, f"{core}scaling_max_freq": 1_500_000,
             f"{core}scaling_cur_freq": 600_000, f"{core}scaling_driver": "cpufreq-dt",
             f"{core}scaling_governor": "powersave"}  # fmt: skip
    put(tmp_path, clock)
    assert board.throttling(tmp_path) is None
    assert board.throttling(tmp_path, busy=True) == "600 of 1500 MHz under load (governor powersave)"
    put(tmp_path, {f"{core}scaling_driver": "amd-pstate-epp"})
    assert board.throttling(tmp_path, busy=True) is None
    put(tmp_path, {f"{core}scaling_max_freq": 1_000_000})
    assert board.throttling(tmp_path) == "cpu0 is limited to 1000 of 1500 MHz"
    put(tmp_path, {**clock, f"{core}scaling_cur_freq": 1_500_000})
    cooling = "sys/class/thermal/cooling_device1/"
    put(tmp_path, {f"{cooling}type": "cpufreq-cpu0", f"{cooling}cur_state": 2, f"{cooling}max_state": 4})
    assert board.throttling(tmp_path, busy=True) == "the kernel cools by cpufreq-cpu0, step 2 of 4"
    put(tmp_path, {f"{cooling}cur_state": -1})
    assert board.throttling(tmp_path) is None


def test_power_from_rapl_and_ina_sensors(tmp_path) -> None:
    for zone in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1"):
        folder = f"sys/class/powercap/{zone}/"
        put(tmp_path, {f"{folder}energy_uj": 5_000_000, f"{folder}max_energy_range_uj": 10_000_000})
    assert board.energy_j(tmp_path) == {"intel-rapl:0": (5.0, 10.0), "intel-rapl:1": (5.0, 10.0)}
    put(tmp_path, {"sys/class/powercap/intel-rapl:0/energy_uj": 1_000_000})
    shown = board_report._power({"intel-rapl:0": (5.0, 10.0)}, root=tmp_path, seconds=2.0)
    assert shown == {"source": "rapl", "watts": 3.0}  # the counter wrapped
    shutil.rmtree(tmp_path / "sys/class/powercap")
    assert board_report._power({}, root=tmp_path, seconds=2.0) is None
    put(tmp_path, {
        "sys/class/hwmon/hwmon0/name": "coretemp", "sys/class/hwmon/hwmon0/power1_input": 9_000_000,
        "sys/class/hwmon/hwmon1/name": "ina219", "sys/class/hwmon/hwmon1/power1_input": 2_500_000,
        "sys/class/hwmon/hwmon2/name": "ina3221", "sys/class/hwmon/hwmon2/in1_input": 5000,
        "sys/class/hwmon/hwmon2/curr1_input": 700, "sys/class/hwmon/hwmon2/in2_input": 5000,
    })  # fmt: skip
    assert board.power_w(tmp_path) == {"ina219 (hwmon1)": 2.5, "ina3221 (hwmon2)": 3.5}
    shown = board_report._power({}, root=tmp_path, seconds=2.0)
    assert shown == {"source": "ina219 (hwmon1), ina3221 (hwmon2)", "watts": 6.0}


def rk3399(root: Path) -> Path:
    """Four small cores and two big ones."""
    board_tree(root, "FriendlyARM NanoPC-T4", parts=["0xd03"] * 4 + ["0xd08"] * 2, kib=3_900_000)
    capacities = {f"sys/devices/system/cpu/cpu{i}/cpu_capacity": 485 if i < 4 else 1024 for i in range(6)}
    return put(root, dict(capacities))


def test_big_cores_are_taken_only_when_asked_for(tmp_path, monkeypatch) -> None:
    root, allowed, calls = rk3399(tmp_path), set(range(6)), []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(allowed))
    monkeypatch.setattr(os, "sched_setaffinity", lambda _pid, cores: calls.append(cores))
    found = board.read_board(root)
    assert found.big_cores == (4, 5)
    assert board.recommend(found) == board.Recommendation("sface", 2, board.recommend().reason)
    assert calls == []
    assert board.pin_to_big_cores(root) == {4, 5}
    allowed -= {5}
    assert board.pin_to_big_cores(root) == {4}
    assert calls == [{4, 5}, {4}]
    allowed -= {4}
    assert board.pin_to_big_cores(root) == {0, 1, 2, 3}
    put(root, {f"sys/devices/system/cpu/cpu{i}/cpu_capacity": 1024 for i in range(6)})
    allowed |= {4, 5}
    assert board.pin_to_big_cores(root) == set(range(6))
    assert len(calls) == 2


def test_a_big_core_that_exists_is_really_taken(tmp_path) -> None:
    own = sorted(os.sched_getaffinity(0))
    parts = ["0xd03"] * (max(own) + 2)
    root = board_tree(tmp_path, "big.LITTLE", parts=parts, kib=1_000_000)
    put(root, {f"sys/devices/system/cpu/cpu{i}/cpu_capacity": 1024 if i == own[0] else 400 for i in range(len(parts))})
    code = ("import os, sys; from pathlib import Path; from facesdk.device import board; "
            "print(board.pin_to_big_cores(Path(sys.argv[1])), os.sched_getaffinity(0))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"{{{own[0]}}}"] * 2


def leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value, *(leaf for v in value.values() for leaf in leaves(v))]
    return [leaf for v in value for leaf in leaves(v)] if isinstance(value, (list, tuple)) else [value]


def assert_private(result: dict[str, object]) -> None:
    """No serial, address, host, user or path in it."""
    text = json.dumps(result)
    assert not [secret for secret in SECRETS if secret in text]
    assert not re.search(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", text, re.IGNORECASE)
    words = {str(leaf).lower() for leaf in leaves(result)}
    assert not words & {platform.node().lower(), getpass.getuser().lower(), str(Path.home()).lower()}
    assert not [word for word in words if word.startswith(("/", "~")) or "/home/" in word or sys.prefix in word]


def test_the_board_kit_measures_and_keeps_to_itself(tmp_path, monkeypatch) -> None:
    root = known_board(tmp_path, "pi-4")
    monkeypatch.setattr(board_report, "FRESH_PROCESSES", 1)
    put(root, {"sys/bus/usb/devices/1-1/idVendor": "18d1", "sys/bus/usb/devices/1-1/idProduct": "9302",
               board.PI_WORD: "50005"})  # fmt: skip
    said: list[str] = []
    result = board_report.run_board(rounds=5, root=root, say=said.append)
    assert said
    assert_private(result)
    assert (result["format"], result["emulated"], result["board"]["kind"]) == (1, False, "pi-4")
    assert result["recommended"]["embedder"] == "sface"
    assert result["accelerators"] == ["usb"]
    assert result["kernels"] == {"used": _core.variant(), "usable": _core.variants()}
    times, networks = result["times"], {"blazeface_short_range", "face_mesh", "sface", "mobilefacenet"}
    assert set(times["networks"]) == networks
    assert set(times["pipeline"]) == set(times["tracking"]) == {"joint", "mobilefacenet", "sface"}
    for row in (*times["networks"].values(), *times["pipeline"].values()):
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["first_ms"] > 0
    for row in times["tracking"].values():
        assert row["same_decisions"] == row["frames"] == 5 * row["detections"]
    assert all(value > 0 for value in times["cold_verify_ms"].values())
    assert result["conditions"]["throttling"] == "now: under-voltage, throttled"
    assert result["conditions"]["celsius_before"] == {"cpu-thermal": 48.312}
    if sys.platform == "linux" and platform.machine() == "x86_64":
        assert 40 < result["memory"]["verify_peak_mb"]["mobilefacenet"] <= 150


def test_portraits_and_bits_without_times(tmp_path, capsys) -> None:
    path = tmp_path / "board.json"
    assert main(["bench", "--board", "--emulated", "--json", "--out", str(path)]) == 0
    result = json.loads(path.read_text())
    assert json.loads(capsys.readouterr().out) == {"schema": 1, **result}
    assert_private(result)
    assert result["emulated"] is True
    assert result["times"] is result["memory"] is result["conditions"] is None
    # The int8 networks are integer-exact with LiteRT: every processor must come to these.
    assert result["accuracy"]["bits"] == {"sface": "7a2cf18ab56e45e8", "mobilefacenet": "99cdfaa4e2a89050"}
    for name, counts in result["accuracy"]["portraits"].items():
        assert counts == {"faces": 11, "mated": [5, 5], "non_mated": [50, 50]}, name


def test_wrong_words_are_usage_errors(tmp_path, capsys) -> None:
    for words in (["--out", "x"], ["--emulated"], ["--board", "--embedder", "sface"], ["--board", "--rounds", "4"]):
        assert main(["bench", *words]) == 2
    missing = str(tmp_path / "none" / "x.json")
    assert main(["bench", "--board", "--emulated", "--out", missing]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_bench_and_doctor_say_that_the_board_is_held_back(capsys, monkeypatch) -> None:
    monkeypatch.setattr(board, "throttling", lambda *_, **__: "now: under-voltage")
    assert main(["bench", "--rounds", "5", "--embedder", "mobilefacenet", "--big-cores"]) == 0
    assert "throttled: now: under-voltage" in capsys.readouterr().err
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "throttled now: under-voltage" in out
    assert f"pages of {os.sysconf('SC_PAGESIZE') // 1024} KiB" in out


def test_doctor_says_which_accelerators_are_attached(capsys, monkeypatch) -> None:
    assert main(["doctor"]) == 0
    assert "accel.    no Edge TPU attached" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "attached", lambda: [Device("usb", "/sys/bus/usb/devices/1-1")])
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "accel.    Edge TPU (usb); compiled for it: no model, see docs/edge-tpu.md" in out
    assert "1-1" not in out


def test_the_clip_moves_and_its_face_is_found(sface) -> None:
    clip = timing.bench_clip(20)
    assert {frame.shape for frame in clip} == {(480, 640, 3)}
    first, last = (sface.detect(clip[i])[0].keypoints_px.mean(axis=0) for i in (0, -1))
    assert math.dist(first, last) > 15


def loads(path: Path) -> list[tuple[int, int, int]]:
    """(offset, address, alignment) of the loaded segments of a little-endian ELF file, 32 or 64 bits."""
    data = path.read_bytes()
    wide = data[4] == 2
    table, size, count = (struct.unpack_from("<Q", data, 32)[0] if wide else struct.unpack_from("<I", data, 28)[0],
                          *struct.unpack_from("<HH", data, 54 if wide else 42))  # fmt: skip
    found = []
    for start in range(table, table + size * count, size):
        if struct.unpack_from("<I", data, start)[0] == 1:
            layout, at = ("<QQ", start + 8) if wide else ("<II", start + 4)
            alignment = (
                struct.unpack_from("<Q", data, start + 48) if wide else struct.unpack_from("<I", data, start + 28)
            )
            found.append((*struct.unpack_from(layout, data, at), alignment[0]))
    return found


def test_libraries_can_be_loaded_with_pages_of_16_and_64_kib() -> None:
    """A Raspberry Pi 5's kernel has pages of 16 KiB, where a segment aligned to 4 KiB cannot be mapped."""
    ours = [Path(_core.__file__), *([LITERT / "libLiteRt.so"] if platform.machine() == "aarch64" else [])]
    for segments in map(loads, ours):
        assert len(segments) >= 2
        for offset, address, alignment in segments:
            assert alignment >= 0x10000
            assert (offset - address) % 0x10000 == 0


def needed(path: Path) -> set[str]:
    """Names of the libraries that a little-endian 64-bit ELF file needs."""
    data = path.read_bytes()
    table, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    headers = [struct.unpack_from("<IIQQQQ", data, table + 56 * i) for i in range(count)]
    start, size = next((offset, size) for kind, _, offset, _, _, size in headers if kind == 2)
    entries = list(struct.iter_unpack("<QQ", data[start : start + size]))
    strings = next(value for tag, value in entries if tag == 5)
    for kind, _, offset, address, _, size in headers:
        if kind == 1 and address <= strings < address + size:
            names = [data[strings - address + offset + value :] for tag, value in entries if tag == 1]
    return {name[: name.index(0)].decode() for name in names}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="LiteRT is made for x86-64 and aarch64")
def test_litert_needs_nothing_but_the_system() -> None:
    found = needed(LITERT / "libLiteRt.so")
    assert {"libc.so.6", "libstdc++.so.6"} <= found
    known = r"lib(c|m|stdc\+\+)\.so\.6|libdl\.so\.2|libpthread\.so\.0|lib(rt|gcc_s)\.so\.1|ld-linux-.*"
    assert [name for name in found if not re.fullmatch(known, name)] == []


WITHOUT_AVX = """
from facesdk import Engine, _core
from facesdk.engine.twin import synthetic_crop
from facesdk.evaluation.board_report import _bits
from facesdk.evaluation.timing import bench_frame
import numpy as np
frame = bench_frame()
vector = np.linspace(-1, 1, 128, dtype=np.float32)
warped = _core.warp_u8("scalar", frame, (0.3, 0.1, 40.0, -0.1, 0.3, 60.0), (112, 112))
engine = Engine("joint")
print(warped.astype(int).sum(), _core.compare(vector, vector[::-1].copy()), len(engine.detect(frame)), _bits(engine))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="about x86-64 processors")
@pytest.mark.skipif(not shutil.which("qemu-x86_64-static"), reason="needs qemu-user-static")
def test_runs_without_avx() -> None:
    """On a processor of 2008, from kernels to LiteRT's networks, with the same numbers as here."""
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Nehalem"}
    scalar_alone = 'assert _core.variants() == ["scalar"], _core.variants()\n'
    found = []
    for command, code in (
        ([], WITHOUT_AVX),
        (["qemu-x86_64-static", "-cpu", "Nehalem"], WITHOUT_AVX + scalar_alone),
    ):
        done = subprocess.run(
            [*command, sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] == found[1] != ""


KIT = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.skipif(not (KIT / "boards.py").exists(), reason="the benchmarks are in the repository only")
def test_contributed_files_make_the_table(tmp_path) -> None:
    files = sorted((KIT / "boards").glob("*.json"))
    assert files
    for path in files:
        assert_private(json.loads(path.read_text()))
    emulated = {**json.loads(files[0].read_text()), "emulated": True, "times": None, "memory": None, "conditions": None}
    folder = tmp_path / "boards"
    folder.mkdir()
    for path in files:
        shutil.copy(path, folder)
    (folder / "emulated.json").write_text(json.dumps(emulated))
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- boards:begin -->\nstale\n<!-- boards:end -->\nafter\n")
    command = [sys.executable, str(KIT / "boards.py"), "--folder", str(folder), "--write", str(readme)]
    subprocess.run(command, capture_output=True, check=True)
    text = readme.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == len(files) + 3
    assert len({row.count(" | ") for row in rows}) == 1
    assert sum("emulated | - |" in row for row in rows) == 1 + sum("emulated" in path.name for path in files)
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text
    (folder / "emulated.json").write_text(json.dumps({**emulated, "format": 2}))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "format 2 where 1 was expected" in done.stderr
