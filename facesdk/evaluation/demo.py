"""The demo: enrolls a bundled person, verifies the same person years apart, refuses others and a tampered template."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from facesdk.engine.engine import Engine
from facesdk.errors import EnrollmentError, KeyUnavailableError, LockedOutError, VaultIntegrityError
from facesdk.images import load_rgb
from facesdk.types import Decision
from facesdk.verifier import FaceVerifier

if TYPE_CHECKING:
    from facesdk.types import Frame

T = TypeVar("T")
OWNER = ("obama_2005.jpg", "obama_2009.jpg")
LATER = "obama_2012.jpg"
OTHERS = ("biden.jpg", "macron_2025.jpg", "sunak.jpg", "ardern_2022.jpg", "collins.png", "hopper.jpg")
PASSPHRASE = "only for the demo"


class Demo:
    """One run: prints each step with its time through `say`; `failed` names the steps that went wrong."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.failed: list[str] = []

    def step(self, text: str, work: Callable[[], T]) -> T:
        """The result of work, its time said, also where it ends in an error."""
        start = time.perf_counter()
        try:
            return work()
        finally:
            self._say(f"{(time.perf_counter() - start) * 1e3:9.1f} ms  {text}")

    def expect(self, condition: bool, text: str) -> None:
        """Says what came, and remembers it if it is not what must come."""
        self._say(f"              {'ok' if condition else 'WRONG'}: {text}")
        if not condition:
            self.failed.append(text)


def run_demo(say: Callable[[str], None], *, picture: Path | None = None) -> bool:
    """True if every step came out as it must. picture: where to make a file of the drawing, if anywhere."""
    demo = Demo(say)
    with (
        as_file(files("facesdk.portraits")) as folder,
        tempfile.TemporaryDirectory(prefix="facesdk-demo-") as temporary,
    ):
        frames = demo.step(
            "read nine bundled portraits", lambda: {n: load_rgb(folder / n) for n in (*OWNER, LATER, *OTHERS)}
        )
        engine = demo.step("make the engine: four networks, their hashes checked", Engine)
        vault = Path(temporary) / "vault"
        verifier = demo.step(
            "make a key from the passphrase", lambda: FaceVerifier(vault, passphrase=PASSPHRASE, engine=engine)
        )
        _enroll(demo, verifier, frames)
        _verify(demo, verifier, frames)
        _attack(demo, verifier, vault, frames[LATER])
        if picture is not None:
            try:
                demo.step(f"draw {picture}", lambda: draw(engine, frames, picture))
            except OSError as error:
                demo.expect(False, f"{picture} cannot be written ({error.strerror}): --picture names another file")
    say("demo passed" if not demo.failed else f"demo FAILED: {'; '.join(demo.failed)}")
    return not demo.failed


def _enroll(demo: Demo, verifier: FaceVerifier, frames: dict[str, Frame]) -> None:
    mixed = [frames[OWNER[0]], frames[OTHERS[1]]]
    try:
        demo.step(
            "try to enroll two different people as one", lambda: verifier.enroll("owner", mixed, allow_few_samples=True)
        )
        demo.expect(False, "two different people were enrolled as one")
    except EnrollmentError:
        demo.expect(True, "two different people are not enrolled as one")
    samples = [frames[name] for name in OWNER]
    demo.step(
        "enroll from photographs of 2005 and 2009 (fewer than one should), seal the template",
        lambda: verifier.enroll("owner", samples, allow_few_samples=True),
    )


def _verify(demo: Demo, verifier: FaceVerifier, frames: dict[str, Frame]) -> None:
    outcome = demo.step("verify a photograph of 2012", lambda: verifier.verify("owner", frames[LATER]))
    demo.expect(bool(outcome), f"{outcome.decision.name}: {outcome.reason}")
    for name in OTHERS[:-1]:
        outcome = demo.step(f"verify {name}", lambda name=name: verifier.verify("owner", frames[name]))  # type: ignore[misc]
        demo.expect(outcome.decision is Decision.NON_MATCH, f"{outcome.decision.name}: {outcome.reason}")
    try:
        demo.step(f"verify {OTHERS[-1]}, the sixth stranger", lambda: verifier.verify("owner", frames[OTHERS[-1]]))
        demo.expect(False, "a sixth attempt was allowed at once")
    except LockedOutError as error:
        demo.expect(True, f"refused: {error}")
    demo.step("the passphrase ends the wait", lambda: verifier.unlock("owner", passphrase=PASSPHRASE))
    outcome = demo.step("verify the owner again", lambda: verifier.verify("owner", frames[LATER]))
    demo.expect(bool(outcome), f"{outcome.decision.name}: {outcome.reason}")


def _attack(demo: Demo, verifier: FaceVerifier, vault: Path, probe: Frame) -> None:
    sealed = next(vault.glob("*.face"))
    original = sealed.read_bytes()
    damaged = bytearray(original)
    damaged[-20] ^= 1
    sealed.write_bytes(damaged)
    try:
        demo.step("change one bit of the template, verify", lambda: verifier.verify("owner", probe))
        demo.expect(False, "a tampered template was accepted")
    except VaultIntegrityError as error:
        demo.expect(True, f"refused: {error}")
    sealed.write_bytes(original)
    thief = FaceVerifier(vault, passphrase="a guess", engine=verifier.engine)
    try:
        demo.step("guess the passphrase", lambda: thief.verify("owner", probe))
        demo.expect(False, "a wrong passphrase opened the template")
    except KeyUnavailableError as error:
        demo.expect(True, f"refused: {error}")


def draw(engine: Engine, frames: dict[str, Frame], path: Path) -> None:
    """Makes a file with a picture of each frame with its box, keypoints and mesh, and its aligned crop below.

    FileExistsError if the path is taken.
    """
    from PIL import Image, ImageDraw

    tile, crop = 260, 112
    names = list(frames)
    sheet = Image.new("RGB", (tile * len(names), tile + crop + 48), "white")
    for column, name in enumerate(names):
        frame = frames[name]
        sample = engine.sample(frame)
        assert sample is not None
        face = sample.face
        image = Image.fromarray(frame)
        pen = ImageDraw.Draw(image)
        unit = max(1, round(max(image.size) / tile))
        assert face.landmarks_px is not None
        for x, y, _ in face.landmarks_px:
            pen.ellipse((x - unit / 2, y - unit / 2, x + unit / 2, y + unit / 2), fill="#40c0ff")
        pen.rectangle([float(v) for v in face.box_px], outline="#00a000", width=2 * unit)
        for x, y in face.keypoints_px:
            pen.ellipse((x - 3 * unit, y - 3 * unit, x + 3 * unit, y + 3 * unit), fill="#ff4000")
        image.thumbnail((tile - 8, tile - 8))
        sheet.paste(image, (column * tile + (tile - image.width) // 2, (tile - image.height) // 2))
        sheet.paste(Image.fromarray(sample.crop), (column * tile + (tile - crop) // 2, tile))
        ImageDraw.Draw(sheet).text((column * tile + 8, tile + crop + 8), name, fill="black")
    with path.open("xb") as file:
        sheet.save(file, format="PNG")
