"""How a TPM is reached is an argument and nothing else, and what libtss2 computes is written nowhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tpm_key_tools
from cli_tools import FACESDK, facesdk, lines_of, portrait_file, secret_file
from tpm_key_tools import BINDING, CHEAP, KEK, key_for, opens, wrapped
from tpm_tools import SoftwareTpm

from facesdk.errors import KeyUnavailableError
from facesdk.vault import KeyKind
from facesdk.vault.keys import tpm_device
from facesdk.vault.keys.kinds import protection
from facesdk.vault.keys.tpm import TpmKey

running, tpm, another = tpm_key_tools.running, tpm_key_tools.tpm, tpm_key_tools.another
pytestmark = tpm_key_tools.needs_tpm


def test_the_environment_has_no_say(tpm: SoftwareTpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = wrapped(key_for(tpm))
    ran = tmp_path / "ran"
    for tcti in (tpm.tcti, f"cmd:touch {ran}"):
        monkeypatch.setenv("TPM2TOOLS_TCTI", tcti)
        monkeypatch.setenv("TCTI", tcti)
        assert opens(key_for(tpm), section)
        monkeypatch.setattr(tpm_device, "DEFAULT_TCTI", "device:/dev/there-is-none")
        with pytest.raises(KeyUnavailableError, match="cannot be reached"):
            TpmKey("open, please", **CHEAP).unwrap(section, binding=BINDING)
    assert not ran.exists()


def test_from_enroll_to_remove_by_argument(tpm: SoftwareTpm, tmp_path: Path) -> None:
    vault = ["--vault", str(tmp_path / "vault")]
    words, tcti = ["--passphrase-file", secret_file(tmp_path / "words")], ["--tcti", tpm.tcti]
    picture = portrait_file("obama_2005")
    environment = {"TPM2TOOLS_TCTI": tpm.tcti}
    enroll = ["enroll", "--allow-few-samples", "--yes", "--protect", "tpm", *vault, *words, picture]
    if not Path("/dev/tpmrm0").exists():
        done = facesdk(*enroll, env=environment)
        assert done.returncode == 4
        assert "--tcti" in lines_of(done)[1]
    for command in (
        [*enroll, *tcti], ["verify", *vault, *words, *tcti, picture], ["renew", *vault, *words, *tcti],
        ["audit", *vault, *words, *tcti],
    ):  # fmt: skip
        done = facesdk(*command)
        assert done.returncode == 0, (command, done.stderr)
    for given, shown in ((tcti, tpm.tcti), ([], "device:/dev/tpmrm0")):
        done = facesdk("status", *vault, "--json", *given, env=environment)
        assert json.loads(done.stdout)["users"]["owner"]["transport"] == shown
        assert f"transport {shown}".encode() in facesdk("status", *vault, *given, env=environment).stdout
    assert facesdk("remove", *vault, *tcti).returncode == 0


def test_only_a_tpm_has_a_transport() -> None:
    assert protection(KeyKind.TPM).transport == "device:/dev/tpmrm0"
    assert protection(KeyKind.TPM, tcti="swtpm:").transport == "swtpm:"
    assert [protection(kind, tcti="swtpm:").transport for kind in KeyKind if kind is not KeyKind.TPM] == [None] * 4


CHILD = """
import sys
from facesdk._core import Secret
from facesdk.vault.keys.tpm import TpmKey
key = TpmKey("open, please", tcti=sys.argv[1], memory_kib=19456, passes=2)
with Secret.of(bytes.fromhex(sys.argv[2])) as kek:
    section = key.wrap(kek, binding=b"x")
for passphrase in ("open, please", "wrong"):
    try:
        TpmKey(passphrase, tcti=sys.argv[1], memory_kib=19456, passes=2).unwrap(section, binding=b"x")
    except Exception as error:
        print(type(error).__name__)
key.counter(section).increment()
key.destroy(section)
"""
# libtss2 by itself, without facesdk: what it would write, so that a silent one is seen to be silenced.
TALKING = """
import sys, tpm2_pytss
with tpm2_pytss.ESAPI(sys.argv[1]) as tpm:
    tpm.get_random(8)
"""


def test_libtss2_writes_nothing(tpm: SoftwareTpm, tmp_path: Path) -> None:
    for level in ("all+TRACE", "esys+debug,all+TRACE", "ALL+TRACE"):
        log = tmp_path / "log"
        environment = {**os.environ, "TSS2_LOG": level, "TSS2_LOGFILE": str(log)}
        loud = subprocess.run(
            [sys.executable, "-c", TALKING, tpm.tcti], env=environment, capture_output=True, timeout=60
        )
        assert len(loud.stderr) + (log.stat().st_size if log.exists() else 0) > 1000
        log.unlink(missing_ok=True)
        for target in (str(log), None):
            if target is None:
                del environment["TSS2_LOGFILE"]
            quiet = subprocess.run(
                [sys.executable, "-c", CHILD, tpm.tcti, KEK.hex()], env=environment, capture_output=True, timeout=60
            )
            assert (quiet.stdout, quiet.stderr) == (b"KeyUnavailableError\n", b"")
            assert not log.exists()


LOADED_BEFORE = """
import os, sys
import tpm2_pytss
from facesdk.vault.keys.tpm import TpmKey
try:
    TpmKey("p", tcti=sys.argv[1], memory_kib=19456, passes=2).destroy(bytes.fromhex(sys.argv[2]))
    print("done")
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.parametrize(("level", "refused"), [(None, False), ("all+ERROR", False), ("all+TRACE", True)])
def test_a_level_that_was_taken_up_before(tpm: SoftwareTpm, level: str | None, refused: bool) -> None:
    """Another user of libtss2 in this process had it log: what it keeps saying cannot be taken back."""
    environment = {k: v for k, v in os.environ.items() if k != "TSS2_LOG"} | ({"TSS2_LOG": level} if level else {})
    section = wrapped(key_for(tpm))
    command = [sys.executable, "-c", LOADED_BEFORE, tpm.tcti, section.hex()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert bool(re.match("KeyUnavailableError: libtss2 may be logging", done.stdout)) == refused, done
    assert ("done" in done.stdout) != refused


def test_the_command_needs_no_more_than_its_own_words(tpm: SoftwareTpm) -> None:
    done = subprocess.run([*FACESDK, "unlock", "--help"], capture_output=True, text=True, timeout=60)
    assert "--tcti" in done.stdout
