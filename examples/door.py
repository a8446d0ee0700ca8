"""A door that opens to its owner: a ring of LEDs says where to turn, a relay lets in for three seconds.

door.py VAULT: it reads the passphrase as a line from stdin when it starts, and again when it is required. What happens
goes to stderr, as lines for the journal. Wire the relay so that the door is shut while nobody drives the pin."""

import logging
import signal
import sys
import time

from gpiozero import OutputDevice

from facesdk import FaceVerifier, KeyUnavailableError, LockedOutError, protect_process
from facesdk.camera import open_camera
from facesdk.capture.watcher import WatchKind
from facesdk.views import open_view

CAMERA, LEDS, RELAY, OPEN_S = "0", "leds:5,6,13,19,26,16,20,21", 17, 3.0
ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def ask() -> str:
    """The passphrase: a line of stdin, which a key pad types as a keyboard does. Its end ends the program."""
    return sys.stdin.readline().rstrip("\n") or sys.exit("no passphrase: nobody can be let in")


def end(number: int, _frame: object) -> None:
    for one in ENDS:
        signal.signal(one, signal.SIG_IGN)  # nothing disturbs the last steps
    sys.exit(128 + number)


logging.basicConfig(level=logging.INFO, format="%(message)s")
protect_process()  # no core dump, no debugger: the key is in this process
for number in ENDS:
    signal.signal(number, end)
with (
    OutputDevice(RELAY) as relay, FaceVerifier(sys.argv[1], passphrase=ask()) as verifier, open_view(LEDS) as view,
    open_camera(CAMERA) as camera,
    verifier.watch("owner", camera, purpose="door", challenge=view.challenge, on_progress=view.show) as watch,
):  # fmt: skip
    try:
        for event in watch:
            logging.info("%s: %s", event.kind.name.lower(), event.text)
            if event.kind is WatchKind.MATCHED:
                relay.on()
                time.sleep(OPEN_S)
                relay.off()
            elif event.kind is WatchKind.PASSPHRASE_REQUIRED:
                try:
                    verifier.unlock("owner", passphrase=ask())
                except (KeyUnavailableError, LockedOutError) as why:
                    logging.info("%s", why)
    finally:
        relay.off()
