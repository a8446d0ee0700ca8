"""The loop a device runs: look, verify, unlock, lock again; the passphrase as the way back.

unlock_demo.py --source 0 --unlock 'loginctl unlock-session'; a video file or a folder of pictures is a source too."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from facesdk import FaceVerifier
from facesdk.camera import open_source
from facesdk.cli.secrets import ask_passphrase as asked  # only where somebody can type; getpass would open the terminal
from facesdk.errors import KeyUnavailableError, LockedOutError, PassphraseRequiredError, UsageError
from facesdk.vault.keys.passphrase import read_passphrase

OPTION, ABSENT_S = "--passphrase-file", 3.0  # locked again when the owner was not seen for so long


def bursts(source: str, size: int, rotate: int) -> Iterator[tuple[float, list]]:
    """Frames in groups of `size` (the last may be smaller), each with the time of its last frame."""
    with open_source(source, rotate=rotate) as opened:
        frames = iter(opened)
        while group := list(islice(frames, size)):
            yield group[-1].time_s, [frame.image for frame in group]


def events(arguments: argparse.Namespace, verifier: FaceVerifier) -> Iterator[str]:
    """What happens: "unlock", "lock", or a sentence for the person. The verifier counts attempts, forgets its key."""
    unlocked, last_seen = False, 0.0
    for now, frames in bursts(arguments.source, 5, int(arguments.rotate)):
        try:
            outcome = verifier.verify(arguments.user, frames, camera="unlock demo", consecutive=True)
            there, hint = bool(outcome), outcome.guidance.value or "not recognized"
        except (LockedOutError, PassphraseRequiredError) as why:
            if unlocked:
                unlocked = False
                yield "lock"
            yield str(why)
            try:
                there, hint = verifier.unlock(arguments.user, passphrase=asked(options=OPTION)) is None, ""
            except (KeyUnavailableError, UsageError):
                there, hint = False, "the passphrase is needed"
        if there:
            if not unlocked:
                yield "unlock"
            unlocked, last_seen = True, now
        elif not unlocked:
            yield hint
        elif now - last_seen > ABSENT_S:
            unlocked = False
            yield "lock"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    options = {"--user": "owner", "--source": "0", "--rotate": "0", "--unlock": "true", "--lock": "true"}
    for option, default in options.items():
        parser.add_argument(option, default=default)
    parser.add_argument("--vault", type=Path, required=True)
    parser.add_argument("--passphrase-file", type=Path)
    arguments = parser.parse_args()
    words = read_passphrase(file) if (file := arguments.passphrase_file) else asked(options=OPTION)
    verifier, event = FaceVerifier(arguments.vault, passphrase=words), "lock"
    try:
        for event in events(arguments, verifier):
            print(event, flush=True)
            if event in ("unlock", "lock"):
                subprocess.run(shlex.split(getattr(arguments, event)), check=True)
    finally:  # whatever ends it, it ends locked
        if event != "lock":
            print("lock", flush=True)
            subprocess.run(shlex.split(arguments.lock), check=True)


main()
