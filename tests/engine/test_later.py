"""Work on another thread: its result, its error, and where no thread is to be had."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from facesdk.engine.threads import Later


def test_the_result_is_the_work_s() -> None:
    assert Later(lambda: threading.get_ident()).result() != threading.get_ident()


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    later = Later(lambda: 1 // 0)
    later.wait()
    with pytest.raises(ZeroDivisionError):
        later.result()


def test_without_threads_the_work_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert Later(lambda: threading.get_ident()).result() == threading.get_ident()


INTERRUPTED = """
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from facesdk import Engine
try:
    Engine()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupted_start_ends_in_order() -> None:
    for _ in range(6):
        done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() in ("interrupted", "")  # "": without our executor nothing is loaded meanwhile
