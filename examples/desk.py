"""Locks the desktop when its owner has been gone for half a minute, or somebody else sits there.

desk.py VAULT, with the key opened before by `facesdk unlock`. It only ever locks: nobody is asked to follow a dot, and
a photo of the owner keeps the desktop open: a lock that comes late, not a door."""

import signal
import subprocess
import sys

from facesdk import FaceVerifier
from facesdk.camera import open_camera
from facesdk.capture.watcher import WatchKind
from facesdk.types import Assurance

CAMERA, LOCK, AWAY_S = "0", ("loginctl", "lock-session"), 30
LOCKS = (WatchKind.LEFT, WatchKind.REFUSED, WatchKind.LOCKED_OUT, WatchKind.PASSPHRASE_REQUIRED)
ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def end(number: int, _frame: object) -> None:
    for one in ENDS:
        signal.signal(one, signal.SIG_IGN)  # nothing disturbs the last steps
    sys.exit(128 + number)


for number in ENDS:
    signal.signal(number, end)
with (
    FaceVerifier(sys.argv[1], keyring=True) as verifier, open_camera(CAMERA) as camera,
    verifier.watch("owner", camera, purpose="desk", liveness=Assurance.NONE, leave_after_s=AWAY_S) as watch,
):  # fmt: skip
    try:
        for event in watch:
            print(event.kind.name.lower(), event.text, flush=True)
            if event.kind in LOCKS:
                subprocess.run(LOCK, check=True, timeout=10)
    finally:  # a camera that was pulled out locks too
        subprocess.run(LOCK, check=True, timeout=10)
