"""The loop of a device: whoever comes follows the dot; a match unlocks, leaving locks, and so does whatever ends it.

unlock_demo.py --vault VAULT --view window --unlock 'loginctl unlock-session' --lock 'loginctl lock-session'
A folder or a video is a source for trials, with --liveness NONE: nobody in a recording follows a fresh dot."""

import argparse
import contextlib
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from facesdk import FaceVerifier, KeyUnavailableError, LockedOutError
from facesdk.camera import open_camera, open_source
from facesdk.capture.watcher import WatchKind
from facesdk.cli.secrets import ask_passphrase, at_terminal
from facesdk.types import Assurance
from facesdk.vault.keys.passphrase import read_passphrase
from facesdk.views import open_view

ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
OPTIONS = {"vault": "vault", "passphrase-file": None, "user": "owner", "source": "0", "rotate": "0",
           "view": "terminal", "liveness": "RGB_CHALLENGE", "unlock": "true", "lock": "true"}  # fmt: skip
parser = argparse.ArgumentParser(description=__doc__)
for option, default in OPTIONS.items():
    parser.add_argument(f"--{option}", default=default)
given = parser.parse_args()
file, source, tier = given.passphrase_file, given.source, Assurance[given.liveness]
run = partial(subprocess.run, shell=True, check=True, timeout=10)
ask = partial(ask_passphrase, options="--passphrase-file")


def end(number: int, _frame: object) -> None:
    for one in ENDS:
        signal.signal(one, signal.SIG_IGN)  # nothing disturbs the last steps
    sys.exit(128 + number)


for number in ENDS:
    signal.signal(number, end)
run(given.lock)
with (
    FaceVerifier(given.vault, passphrase=read_passphrase(file) if file else ask()) as verifier,
    (open_source if Path(source).is_dir() or Path(source).is_file() else open_camera)(
        source, rotate=int(given.rotate)) as camera, open_view(given.view) as view,
    verifier.watch(given.user, camera, liveness=tier, challenge=view.challenge, leave_after_s=3,
                   on_progress=lambda *now: view.show(*now) or (view.closed and watch.cancel())) as watch,
):  # fmt: skip
    try:
        for event in watch:
            if event.kind in (WatchKind.MATCHED, WatchKind.LEFT):
                run(given.unlock if event.kind is WatchKind.MATCHED else given.lock)
            print(event.kind.name.lower(), event.text, flush=True)
            if event.kind is WatchKind.PASSPHRASE_REQUIRED and at_terminal():
                with contextlib.suppress(KeyUnavailableError, LockedOutError):  # asked again of who comes next
                    verifier.unlock(given.user, passphrase=ask())
    finally:
        run(given.lock)
