"""A swtpm for the tests: started, stopped, looked into. It is reached over UNIX sockets alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path


def missing() -> str | None:
    """Why there can be no TPM test here, or None."""
    for program in ("swtpm", "tpm2_getcap"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt: swtpm tpm2-tools)"
    try:
        import tpm2_pytss  # noqa: F401
    except (ImportError, OSError) as error:
        return f"tpm2_pytss cannot be imported ({error}): pip install 'facesdk-unlock[tpm]'"
    return None


class SoftwareTpm:
    """One emulated TPM 2.0 with its own state; started by `start`, stopped by `stop`, the state stays until `close`."""

    def __init__(self) -> None:
        # A short path: a UNIX socket's name has at most 107 bytes, which pytest's folders can exceed.
        self._folder = Path(tempfile.mkdtemp(prefix="swtpm-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def tcti(self) -> str:
        """How libtss2 reaches it."""
        return f"swtpm:path={self._folder}/tpm"

    def start(self) -> None:
        """Runs it, and waits until both its sockets are there."""
        if self._process is not None:
            raise RuntimeError("it runs already")
        sockets = [self._folder / "tpm", self._folder / "tpm.ctrl"]
        self._process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._folder}", "--flags", "not-need-init,startup-clear",
             "--server", f"type=unixio,path={sockets[0]}", "--ctrl", f"type=unixio,path={sockets[1]}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(1000):
            if all(s.exists() for s in sockets):
                return
            if self._process.poll() is not None:
                raise RuntimeError(f"swtpm ended with status {self._process.returncode}")
            time.sleep(0.005)
        raise RuntimeError("swtpm made no sockets within 5 s")

    def stop(self) -> None:
        """Pulls the plug (SIGKILL): what the TPM had not written to its flash is lost."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            for name in ("tpm", "tpm.ctrl"):
                (self._folder / name).unlink(missing_ok=True)

    def shutdown(self) -> None:
        """TPM2_Shutdown as a kernel does, then stop: without it, the TPM counts a failure when it starts again."""
        self.run("tpm2_shutdown", "-c")
        self.stop()

    def close(self) -> None:
        """Stops it and removes its state."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, *command: str) -> str:
        """The output of a program of tpm2-tools."""
        done = subprocess.run(
            [*command, "-T", self.tcti], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]}: {done.stderr}")
        return done.stdout

    def handles(self) -> dict[str, list[str]]:
        """What is loaded or defined: "transient", "loaded-session", "saved-session", "nv-index"."""
        kinds = ("transient", "loaded-session", "saved-session", "nv-index")
        return {kind: self.run("tpm2_getcap", f"handles-{kind}").replace("-", "").split() for kind in kinds}

    def lockout(self, tries: int, *, recovery_s: int = 1000) -> None:
        """Sets how many wrong passphrases lock the TPM, and forgets those so far."""
        self.run("tpm2_dictionarylockout", "--setup-parameters", f"--max-tries={tries}",
                 f"--recovery-time={recovery_s}", "--lockout-recovery-time=0")  # fmt: skip
        self.run("tpm2_dictionarylockout", "--clear-lockout")
