"""The demo: enrolls a bundled person, verifies the same person years apart, refuses others and a tampered template."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from facesdk import portraits
from facesdk.engine import Engine
from facesdk.errors import EnrollmentError, KeyUnavailableError, LockedOutError, VaultIntegrityError
from facesdk.evaluation import contact_sheet
from facesdk.evaluation.contact_sheet import Kind, Tile
from facesdk.evaluation.pen import scalable
from facesdk.portraits.credits import credit_line, credits
from facesdk.types import Decision
from facesdk.verifier import FaceVerifier

if TYPE_CHECKING:
    from facesdk.types import Frame, Outcome

T = TypeVar("T")
OWNER = ("obama_2005.jpg", "obama_2009.jpg")
LATER = "obama_2012.jpg"
OTHERS = ("biden.jpg", "macron_2025.jpg", "sunak.jpg", "ardern_2022.jpg", "collins.png", "hopper.jpg")
PASSPHRASE = "only for the demo"
TITLE = "facesdk demo: is this the owner?"
SUBTITLE = "Two photographs enroll the owner; every other one then tries to pass as the owner."
NOTE = "This version has no liveness check: a photograph of the owner passes"
GROUPS = ("Other people, each claiming to be the owner", "The owner")
VERDICTS = {Decision.MATCH: (Kind.MATCH, "Match"), Decision.NON_MATCH: (Kind.NON_MATCH, "Non-match")}
REFUSED = (Kind.REFUSED, "Refused")  # no comparison was made


class Verdict(NamedTuple):
    """What the run said of one portrait."""

    kind: Kind
    words: str
    detail: str


class Demo:
    """One run: prints each step with its time through `say`.

    failed: names the steps that went wrong; verdicts: by the portrait's file, what came out first.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.failed: list[str] = []
        self.verdicts: dict[str, Verdict] = {}

    def step(self, text: str, work: Callable[[], T]) -> T:
        """The result of work, its time said, also where it ends in an error."""
        start = time.perf_counter()
        try:
            return work()
        finally:
            self._say(f"{(time.perf_counter() - start) * 1e3:9.1f} ms  {text}")

    def note(self, text: str) -> None:
        """Say it below the step that it belongs to."""
        self._say(f"              {text}")

    def expect(self, condition: bool, text: str) -> None:
        """Says what came, and remembers it if it is not what must come."""
        self.note(f"{'ok' if condition else 'WRONG'}: {text}")
        if not condition:
            self.failed.append(text)

    def attempt(self, verifier: FaceVerifier, name: str, *, frame: Frame, text: str) -> Outcome:
        """Verify a portrait as the owner, and keep what came out for the picture.

        Args:
            verifier: has the owner's template.
            name: of the portrait's file.
            frame: what is in it.
            text: says the step.

        Returns:
            The outcome.

        Raises:
            LockedOutError: no attempt is allowed now; this is kept too.
        """
        try:
            outcome = self.step(text, lambda: verifier.verify("owner", frame))
        except LockedOutError as error:
            self.verdicts.setdefault(name, Verdict(*REFUSED, str(error)))
            raise
        self.verdicts.setdefault(name, Verdict(*VERDICTS.get(outcome.decision, REFUSED), outcome.reason))
        return outcome


def run_demo(say: Callable[[str], None], *, picture: Path | None = None) -> bool:
    """True if every step came out as it must. picture: where to make a file of the drawing, if anywhere."""
    demo = Demo(say)
    with tempfile.TemporaryDirectory(prefix="facesdk-demo-") as temporary:
        names = (*OWNER, LATER, *OTHERS)
        frames = demo.step("read nine bundled portraits", lambda: {name: portraits.load(name) for name in names})
        engine = demo.step("make the engine: four networks, their hashes checked", Engine)
        vault = Path(temporary) / "vault"
        verifier = demo.step(
            "make a key from the passphrase", lambda: FaceVerifier(vault, passphrase=PASSPHRASE, engine=engine)
        )
        _enroll(demo, verifier, frames)
        _verify(demo, verifier, frames)
        _attack(demo, verifier, vault, frames[LATER])
        if picture is not None:
            _draw(demo, engine, frames, picture)
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
    for name in OWNER:
        demo.verdicts[name] = Verdict(Kind.ENROLLED, "Enrolled", "sealed into the owner's template")


def _verify(demo: Demo, verifier: FaceVerifier, frames: dict[str, Frame]) -> None:
    outcome = demo.attempt(verifier, LATER, frame=frames[LATER], text="verify a photograph of 2012")
    demo.expect(bool(outcome), f"{outcome.decision.name}: {outcome.reason}")
    for name in OTHERS[:-1]:
        outcome = demo.attempt(verifier, name, frame=frames[name], text=f"verify {name}")
        demo.expect(outcome.decision is Decision.NON_MATCH, f"{outcome.decision.name}: {outcome.reason}")
    try:
        sixth = OTHERS[-1]
        demo.attempt(verifier, sixth, frame=frames[sixth], text=f"verify {sixth}, the sixth stranger")
        demo.expect(False, "a sixth attempt was allowed at once")
    except LockedOutError as error:
        demo.expect(True, f"refused: {error}")
    demo.step("the passphrase ends the wait", lambda: verifier.unlock("owner", passphrase=PASSPHRASE))
    outcome = demo.attempt(verifier, LATER, frame=frames[LATER], text="verify the owner again")
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


def _draw(demo: Demo, engine: Engine, frames: dict[str, Frame], path: Path) -> None:
    if not scalable():
        demo.note("this Pillow has no FreeType: the drawing's letters are coarse")
    try:
        demo.step(f"draw {path}", lambda: draw(path, engine, frames, verdicts=demo.verdicts))
    except OSError as error:
        demo.expect(False, f"{path} cannot be written ({error.strerror}): --picture names another file")


def draw(path: Path, engine: Engine, frames: dict[str, Frame], *, verdicts: dict[str, Verdict]) -> None:
    """Draw a contact sheet of the portraits that have a verdict into a new file.

    Args:
        path: where it goes.
        engine: finds the faces that are marked on it.
        frames: by the names of the portraits' files.
        verdicts: what the run said of them.

    Raises:
        FileExistsError: the path is taken.
        OSError: it cannot be written.
    """
    known, tiles = credits(), []
    for name, verdict in verdicts.items():
        sample = engine.sample(frames[name])
        face = None if sample is None else sample.face
        group = GROUPS[name in (*OWNER, LATER)]
        tiles.append(Tile(frames[name], face, known[name].caption, verdict.words, verdict.kind, verdict.detail, group))
    passed = LATER in verdicts and verdicts[LATER].kind is Kind.MATCH
    contact_sheet.draw(
        path, tiles, title=TITLE, subtitle=SUBTITLE, note=f"{NOTE}{', as one does here' if passed else ''}.",
        credit=credit_line([known[name] for name in verdicts]),
    )  # fmt: skip
