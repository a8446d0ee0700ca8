"""What TpmKey leaves behind: nothing loaded in the TPM, no key on the bus, none in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tpm_key_tools
from tpm_key_tools import BINDING, CHEAP, authorization, counter_of, key_for, opens, wrapped
from tpm_tools import SoftwareTpm

from facesdk._core import Secret
from facesdk.errors import FaceSdkError
from facesdk.vault.keys.tpm import TpmKey

pytestmark = tpm_key_tools.needs_tpm
running, tpm = tpm_key_tools.running, tpm_key_tools.tpm


def test_nothing_stays_loaded(tpm: SoftwareTpm) -> None:
    """50 operations, half of which fail; the fixture looks once more, and a TPM has three slots of each kind."""
    key, wrong, pcrs = key_for(tpm), key_for(tpm, "wrong"), key_for(tpm, pcrs=(16,))
    section, bound = wrapped(key), wrapped(pcrs)
    tpm.run("tpm2_pcrextend", f"16:sha256={'22' * 32}")
    damaged = section[:-1] + bytes([section[-1] ^ 1])
    failed = 0
    for _ in range(10):
        for use in (
            lambda: opens(key, section),
            lambda: opens(wrong, section),
            lambda: opens(key, damaged),
            lambda: opens(pcrs, bound),
            counter_of(key, section).increment,
        ):
            try:
                use()
            except FaceSdkError:
                failed += 1
    tpm.run("tpm2_pcrreset", "16")
    assert failed == 30
    left = tpm.handles()
    assert len(left.pop("nv-index")) == 2
    assert left == {"transient": [], "loaded-session": [], "saved-session": []}


def test_key_and_authorization_do_not_cross_the_bus(
    tpm: SoftwareTpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte between libtss2 and the TPM, by libtss2's own recorder; the encrypted object is among them."""
    monkeypatch.setenv("TCTI_PCAP_FILE", str(tmp_path / "bus.pcap"))
    kek = os.urandom(32)
    for pcrs in ((), (7,)):
        key = TpmKey("open, please", tcti=f"pcap:{tpm.tcti}", pcrs=pcrs, **CHEAP)
        with Secret.of(kek) as secret:
            section = key.wrap(secret, binding=BINDING)
        with key.unwrap(section, binding=BINDING) as opened:
            assert bytes(opened) == kek
        bus = (tmp_path / "bus.pcap").read_bytes()
        assert bus.count(section[-64:]) >= 1, "the recorder saw the private part"
        assert kek not in bus
        assert authorization("open, please", section) not in bus


CHILD = """
import sys
from facesdk.vault.keys.tpm import TpmKey
key = TpmKey("open, please", tcti=sys.argv[1], memory_kib=19456, passes=2)
kek = key.unwrap(bytes.fromhex(sys.argv[2]), binding=bytes.fromhex(sys.argv[3]))
key.wrap(kek, binding=b"again")
for state in ("open", "closed"):
    print(state, flush=True)
    sys.stdin.readline()
    kek.close()
"""


def test_key_and_authorization_do_not_stay_in_memory(tpm: SoftwareTpm) -> None:
    """The whole writable memory of another process that unwrapped and wrapped: the key once while open, then never."""
    key, kek = key_for(tpm), os.urandom(32)
    with Secret.of(kek) as secret:
        section = key.wrap(secret, binding=BINDING)
    auth = authorization("open, please", section)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tpm.tcti, section.hex(), BINDING.hex()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        for state, times in (("open", 1), ("closed", 0)):
            assert child.stdout.readline().strip() == state
            memory = writable_memory(child.pid)
            assert memory.count(b"facesdk.vault.keys.tpm") > 0, "the memory is that of the child"
            assert (memory.count(kek), memory.count(auth)) == (times, 0)
            child.stdin.write("\n")
            child.stdin.flush()


def writable_memory(process: int) -> bytes:
    """The content of every mapping that can be read and written."""
    parts = []
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", buffering=0) as memory:
        for line in maps:
            where, permissions = line.split()[:2]
            start, end = (int(n, 16) for n in where.split("-"))
            if permissions.startswith("rw"):
                memory.seek(start)
                parts.append(memory.read(end - start))
    return b"\0".join(parts)
