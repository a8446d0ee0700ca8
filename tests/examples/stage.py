"""A stage for the examples: a camera before which a person acts who sees what the example's view shows.

    python stage.py EXAMPLE SCENES ARGUMENT...

runs an example as a script. SCENES: JSON, a list of [who, seconds]: a portrait's name, "" for nobody, "lost" for a
camera that fails, "still" for a camera that gives no more frames until somebody ends the program.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from session_tools import camera, head

import facesdk
import facesdk.camera
import facesdk.views
from facesdk.camera import CapturedFrame
from facesdk.errors import CameraError
from facesdk.liveness.simulator.acting import Screen, acted
from facesdk.liveness.simulator.people import Person
from facesdk.liveness.simulator.scenes import LiveHead, Scene, still, tremble

FPS = 15
PASSPHRASE = "passphrase"


class Stage:
    """The camera: frames as fast as they are rendered, with the times of 15 a second."""

    label, ended = "stage", False

    def __init__(self, scenes: list[tuple[str, float]], seed: int = 0) -> None:
        self.scenes, self.screen, self.lens = scenes, Screen(), camera(seed)
        self.pose = acted(Person(seed), self.screen)
        self.views: list[SeenView] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended = True

    def __iter__(self) -> Iterator[CapturedFrame]:
        number = 0
        for who, seconds in self.scenes:
            if who == "lost":
                raise CameraError("the camera was pulled out")
            while who == "still":
                time.sleep(0.05)
            at = tremble(0.4, about=(0.0, 0.0, 50.0))
            scene = LiveHead(head(who), self.pose, at) if who else Scene()
            for _ in range(round(seconds * FPS)):
                time_s = number / FPS
                yield CapturedFrame(scene.render(time_s, self.lens), time_s, "stage", sequence=number)
                number += 1

    def open_view(self, name: str, *, sound: bool = False) -> SeenView:
        """The view that the example asks for, which the person on the stage sees."""
        self.views.append(SeenView(OPEN_VIEW(name, sound=sound), self.screen))
        return self.views[-1]


class SeenView:
    """A view, and somebody who looks at it."""

    def __init__(self, view: Any, screen: Screen) -> None:
        self.view, self.screen, self.shown = view, screen, 0

    def __enter__(self) -> SeenView:
        return self

    def __exit__(self, *_: object) -> None:
        self.view.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.view, name)

    def show(self, progress: Any, frame: CapturedFrame) -> None:
        self.view.show(progress, frame)
        self.screen.show(frame.time_s, progress.prompt)
        self.shown += 1


OPEN_VIEW = facesdk.views.open_view
VERIFIER = facesdk.FaceVerifier


def enrolled(folder: Path, who: str, policy: facesdk.Policy | None = None) -> Path:
    """A vault with rendered pictures of the owner: what a session sees must be of this head."""
    poses = ((0, 0, 0), (12, 0, 0), (-12, 0, 0), (0, -9, 0), (0, 8, 0))
    scenes = [LiveHead(head(who), still(*pose), still(0, 0, 46 + 2 * i)) for i, pose in enumerate(poses)]
    with VERIFIER(folder, passphrase=PASSPHRASE, policy=policy) as verifier:
        verifier.enroll("owner", [scene.render(0.0, camera(90 + i)) for i, scene in enumerate(scenes)])
    return folder


def main(example: str, scenes: str, *arguments: str) -> None:
    stage = Stage([(who, float(seconds)) for who, seconds in json.loads(scenes)])
    facesdk.camera.open_camera = lambda *_, **__: stage
    facesdk.views.open_view = stage.open_view

    def verifier(vault: str, *, passphrase: str | None = None, keyring: bool = False) -> facesdk.FaceVerifier:
        return VERIFIER(vault, passphrase=PASSPHRASE if keyring else passphrase)  # many containers have no keyring

    facesdk.FaceVerifier = verifier
    sys.argv = [example, *arguments]
    runpy.run_path(example, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
