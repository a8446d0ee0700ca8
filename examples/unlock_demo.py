"""The loop a device runs: look, verify, unlock, lock again; the passphrase as the way back.

unlock_demo.py --source 0 --unlock 'loginctl unlock-session'; a video file or a folder of pictures is a source too."""

from __future__ import annotations

import argparse
import getpass
import shlex
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from facesdk import Decision, FaceVerifier
from facesdk.camera import open_source
from facesdk.errors import KeyUnavailableError
from facesdk.vault import PassphraseKey, Vault

ATTEMPTS = 5  # failures before the passphrase is asked for
ABSENT_S = 3.0  # locked again when the owner was not seen for so long


def bursts(source: str, size: int) -> Iterator[tuple[float, list]]:
    """Frames in groups of `size` (the last may be smaller), each with the time of its last frame."""
    with open_source(source) as opened:
        frames = iter(opened)
        while group := list(islice(frames, size)):
            yield group[-1].time_s, [frame.image for frame in group]


def passphrase_opens(arguments: argparse.Namespace) -> bool:
    """Asks once for the passphrase; True if it opens the template."""
    try:
        Vault(arguments.vault, PassphraseKey(getpass.getpass())).get(arguments.user)
    except (KeyUnavailableError, EOFError):
        return False
    return True


def events(arguments: argparse.Namespace, verifier: FaceVerifier) -> Iterator[str]:
    """What happens: "unlock", "lock", or a sentence for the person. Ends locked, whatever ends it."""
    unlocked, failures, last_seen = False, 0, 0.0
    try:
        for now, frames in bursts(arguments.source, size=3):
            outcome = verifier.verify(arguments.user, frames)
            if outcome or (failures >= ATTEMPTS and passphrase_opens(arguments)):
                failures, last_seen = 0, now
                if not unlocked:
                    unlocked = True
                    yield "unlock"
            elif unlocked and now - last_seen > ABSENT_S:
                unlocked = False
                yield "lock"
            elif not unlocked and outcome.decision is Decision.NON_MATCH:
                failures += 1
                yield "the passphrase is needed" if failures >= ATTEMPTS else "not recognized"
    finally:
        if unlocked:
            yield "lock"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (("--user", "owner"), ("--source", "0"), ("--unlock", "true"), ("--lock", "true")):
        parser.add_argument(option, default=default)
    parser.add_argument("--vault", type=Path, required=True)
    parser.add_argument("--passphrase-file", type=Path)
    arguments = parser.parse_args()
    secret = arguments.passphrase_file
    key = PassphraseKey.from_file(secret) if secret else PassphraseKey(getpass.getpass())
    for event in events(arguments, FaceVerifier(arguments.vault, key=key)):
        print(event, flush=True)
        if event in ("unlock", "lock"):
            subprocess.run(shlex.split(getattr(arguments, event)), check=True)


if __name__ == "__main__":
    main()
