"""A page that is shown while its owner stands before the screen, in an asyncio program.

kiosk.py VAULT USER, with the key opened before by `facesdk unlock`. Every way out hides the page."""

import asyncio
import signal
import sys

from facesdk import FaceVerifier
from facesdk.camera import open_camera
from facesdk.capture.watcher import WatchKind
from facesdk.views import open_view

CAMERA, VIEW = "0", "fullscreen"


async def page(*, shown: bool) -> None:
    """Your page goes here: a message to the browser, another screen of your program."""
    print("show" if shown else "hide", flush=True)


async def main(vault: str, user: str) -> None:
    task = asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        with (
            FaceVerifier(vault, keyring=True) as verifier, open_camera(CAMERA) as camera, open_view(VIEW) as view,
            verifier.watch(user, camera, purpose="kiosk", challenge=view.challenge, leave_after_s=2,
                           on_progress=view.show) as watch,
        ):  # fmt: skip
            async for event in watch:
                if event.kind in (WatchKind.MATCHED, WatchKind.LEFT):
                    await page(shown=event.kind is WatchKind.MATCHED)
                else:
                    print(event.kind.name.lower(), event.text, flush=True)
    finally:
        await page(shown=False)


asyncio.run(main(*sys.argv[1:]))
