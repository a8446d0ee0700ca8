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

from facesdk import FaceVerifier
from facesdk.camera import open_source
from facesdk.errors import KeyUnavailableError, LockedOutError, PassphraseRequiredError
from facesdk.vault.passphrase import read_passphrase

ABSENT_S = 3.0  # locked again when the owner was not seen for so long


def bursts(source: str, size: int) -> Iterator[tuple[float, list]]:
    """Frames in groups of `size` (the last may be smaller), each with the time of its last frame."""
    with open_source(source) as opened:
        frames = iter(opened)
        while group := list(islice(frames, size)):
            yield group[-1].time_s, [frame.image for frame in group]


def look(user: str, verifier: FaceVerifier, frames: list) -> tuple[bool, str]:
    """Whether the owner is there, and what to say if not. The verifier counts the attempts and forgets its key."""
    try:
        outcome = verifier.verify(user, frames, camera="unlock demo")
        return bool(outcome), outcome.guidance.value or "not recognized"
    except (LockedOutError, PassphraseRequiredError) as why:
        print(why, flush=True)
    try:
        return verifier.unlock(user, passphrase=getpass.getpass()) is None, ""
    except (KeyUnavailableError, EOFError):
        return False, "the passphrase is needed"


def events(arguments: argparse.Namespace, verifier: FaceVerifier) -> Iterator[str]:
    """What happens: "unlock", "lock", or a sentence for the person. Ends locked, whatever ends it."""
    unlocked, last_seen = False, 0.0
    try:
        for now, frames in bursts(arguments.source, size=3):
            there, hint = look(arguments.user, verifier, frames)
            if there:
                if not unlocked:
                    yield "unlock"
                unlocked, last_seen = True, now
            elif not unlocked:
                yield hint
            elif now - last_seen > ABSENT_S:
                unlocked = False
                yield "lock"
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
    verifier = FaceVerifier(arguments.vault, passphrase=read_passphrase(secret) if secret else getpass.getpass())
    for event in events(arguments, verifier):
        print(event, flush=True)
        if event in ("unlock", "lock"):
            subprocess.run(shlex.split(getattr(arguments, event)), check=True)


main()
