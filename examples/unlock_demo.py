"""The loop a device runs: look, verify, unlock, lock again; the passphrase as the way back.

unlock_demo.py --source 0 --unlock 'loginctl unlock-session'; a video file or a folder of pictures is a source too.
"""

from __future__ import annotations

import argparse
import getpass
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from facesdk import Decision, FaceVerifier
from facesdk.camera import open_source
from facesdk.errors import FaceSdkError
from facesdk.vault import PassphraseKey

ATTEMPTS = 5  # failures before the passphrase is asked for
ABSENT_S = 3.0  # locked again when the owner was not seen for so long


def bursts(source: str, size: int) -> Iterator[tuple[float, list]]:
    """Frames in groups of `size`, each with the time of its last frame."""
    with open_source(source) as frames:
        group = []
        for frame in frames:
            group.append(frame.image)
            if len(group) == size:
                yield frame.time_s, group
                group = []


def hook(command: str, name: str) -> None:
    """Says what happened and runs what the device does then."""
    print(name, flush=True)
    subprocess.run(shlex.split(command) or ["true"], check=True)


def main() -> int:
    """Runs until the source ends; exit code 1 if it never unlocked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vault", type=Path, required=True)
    parser.add_argument("--passphrase-file", type=Path)
    for option, default in (("--user", "owner"), ("--source", "0"), ("--unlock", ""), ("--lock", "")):
        parser.add_argument(option, default=default)
    arguments = parser.parse_args()
    file = arguments.passphrase_file
    key = PassphraseKey.from_file(file) if file else PassphraseKey(getpass.getpass())
    verifier = FaceVerifier(arguments.vault, key=key)
    unlocked, ever, failures, last_seen = False, False, 0, 0.0
    for now, frames in bursts(arguments.source, size=3):
        outcome = verifier.verify(arguments.user, frames)
        if outcome:
            failures, last_seen = 0, now
            if not unlocked:
                hook(arguments.unlock, "unlocked")
                unlocked = ever = True
        elif unlocked and now - last_seen > ABSENT_S:
            hook(arguments.lock, "locked")
            unlocked = False
        elif not unlocked and outcome.decision is Decision.NON_MATCH:
            failures += 1
            if failures >= ATTEMPTS:
                print("too many failures: the passphrase is needed", flush=True)
                key, failures = PassphraseKey(getpass.getpass()), 0
                verifier = FaceVerifier(arguments.vault, key=key)
        elif outcome.guidance.value:
            print(outcome.guidance.value, flush=True)
    return 0 if ever else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FaceSdkError as error:
        sys.exit(f"error: {error}")
