"""threads="auto": the big cores that are idle, four at most, one where the machine is hot; and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facesdk.engine import threads
from facesdk.engine.threads import auto_threads, checked_threads
from facesdk.errors import InputError


def machine(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, capacities: list[int | None], siblings: list[str] | None = None,
    load: str | None = "0.10", celsius: tuple[float, ...] = (), zone: str = "cpu-thermal", quota: str | None = None,
) -> Path:  # fmt: skip
    """What a kernel says of such a machine, all of whose processors this process may use."""
    for number, capacity in enumerate(capacities):
        folder = root / f"sys/devices/system/cpu/cpu{number}"
        (folder / "topology").mkdir(parents=True)
        if capacity is not None:
            (folder / "cpu_capacity").write_text(f"{capacity}\n")
        if siblings is not None:
            (folder / "topology/thread_siblings_list").write_text(f"{siblings[number]}\n")
    for number, degrees in enumerate(celsius):
        place = root / f"sys/class/thermal/thermal_zone{number}"
        place.mkdir(parents=True)
        (place / "temp").write_text(f"{round(degrees * 1000)}\n")
        (place / "type").write_text(f"{zone}\n")
    if quota is not None:
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "sys/fs/cgroup/cpu.max").write_text(f"{quota}\n")
    if load is not None:
        (root / "proc").mkdir()
        (root / "proc/loadavg").write_text(f"{load} 0.05 0.01 1/200 4242\n")
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _pid: set(range(len(capacities))))
    return root


FOUR = [None] * 4


@pytest.mark.parametrize(
    ("expected", "described"),
    [
        (4, {"capacities": FOUR}),
        (4, {"capacities": [None] * 12}),
        (1, {"capacities": [None]}),
        (2, {"capacities": [446, 446, 446, 446, 1024, 1024]}),  # big.LITTLE
        (2, {"capacities": FOUR, "siblings": ["0-1", "0-1", "2-3", "2-3"]}),  # two threads a core
        (2, {"capacities": FOUR, "load": "2.10"}),
        (1, {"capacities": FOUR, "load": "7.50"}),
        (1, {"capacities": FOUR, "celsius": (45.0, 80.0)}),
        (4, {"capacities": FOUR, "celsius": (45.0, 79.9)}),
        (4, {"capacities": FOUR, "celsius": (255.0,)}),  # a sensor that says nothing
        (4, {"capacities": FOUR, "celsius": (90.0,), "zone": "iwlwifi_1"}),
        (1, {"capacities": FOUR, "celsius": (90.0,), "zone": "x86_pkg_temp"}),
        (2, {"capacities": FOUR, "quota": "150000 100000"}),
        (4, {"capacities": FOUR, "quota": "max 100000"}),
        (4, {"capacities": FOUR, "quota": "nonsense"}),
        (1, {"capacities": FOUR, "load": "1e300"}),
        (4, {"capacities": FOUR, "load": "1e400"}),
        (4, {"capacities": FOUR, "load": None}),
        (4, {"capacities": FOUR, "load": "nonsense"}),
    ],
)
def test_by_machine(expected, described, tmp_path, monkeypatch) -> None:
    assert auto_threads(machine(tmp_path, monkeypatch, **described)) == expected


def test_only_processors_that_this_process_may_use_count(tmp_path, monkeypatch) -> None:
    root = machine(tmp_path, monkeypatch, capacities=FOUR)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _pid: {2})
    assert auto_threads(root) == 1


def test_here_it_is_a_number_that_an_engine_takes() -> None:
    assert 1 <= checked_threads("auto") <= threads.MOST_AUTO
    assert checked_threads(np.int64(3)) == 3


@pytest.mark.parametrize("wrong", [0, 17, -1, True, np.True_, "2", "", "automatic", 2.0, None, b"auto"])
def test_what_is_no_number_is_refused(wrong) -> None:
    with pytest.raises(InputError, match='threads must be "auto" or a whole number from 1 to 16'):
        checked_threads(wrong)
