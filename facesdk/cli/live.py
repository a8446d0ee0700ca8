"""What commands do with a camera: one session, or the command that watches without end."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk.cli.context import Context
from facesdk.cli.options import add_command, add_engine, add_vault
from facesdk.cli.output import as_json, say
from facesdk.errors import UsageError

if TYPE_CHECKING:
    from facesdk.capture.session import Session
    from facesdk.capture.watcher import WatchEvent
    from facesdk.types import Assurance, Outcome

LIVENESS = ("challenge", "passive", "none")
COMMAND_S = 30.0  # --on-match and --on-leave are given up after so long
ENDING = tuple(number for name in ("SIGTERM", "SIGHUP", "SIGINT") if (number := getattr(signal, name, None)))


def add(commands: Any) -> None:
    """The command of this module."""
    text = (
        "Verify whoever comes before a camera, again and again, and run a command when the owner is there and when "
        "they leave. Whatever ends it, it ends with --on-leave."
    )
    parser = add_command(commands, "watch", watch, text)
    add_vault(parser)
    add_engine(parser)
    add_camera(parser, needed=True)
    add_life(parser)
    text = "run this when the owner is there: words and arguments, no shell, as in 'relay on'"
    parser.add_argument("--on-match", metavar="CMD", help=text)
    parser.add_argument("--on-leave", metavar="CMD", help="run this when they leave, or when the watch ends before")
    text = "who was not seen for so long has left (default: %(default)g s)"
    parser.add_argument("--leave-after", type=float, default=5.0, metavar="S", help=text)
    parser.add_argument("--purpose", default="", metavar="WORD", help="for the audit log, 12 characters at most")


def add_camera(parser: argparse.ArgumentParser, *, needed: bool = False) -> None:
    """Which camera, and where to show what it is to see."""
    text = "a camera's number, device node or name, picamera, or a recording; facesdk cameras lists them"
    parser.add_argument("--camera", metavar="NAME", required=needed, help=text)
    text = "degrees clockwise that its pictures are turned by: 180 for one that is mounted upside down"
    parser.add_argument("--rotate", type=int, default=0, choices=(0, 90, 180, 270), help=text)
    text = "show where to look: text, terminal, window, or leds:PIN,PIN,... (default: terminal where there is one)"
    parser.add_argument("--view", metavar="NAME", help=text)
    text = "seconds until a session ends without a decision (default: 30, of an enrollment 120)"
    if not needed:
        parser.add_argument("--timeout", type=float, metavar="S", help=text)


def add_life(parser: argparse.ArgumentParser) -> None:
    """How alive somebody must be."""
    text = "what a match before a camera must say about life: challenge (default), passive (facesdk models add) or none"
    parser.add_argument("--liveness", choices=LIVENESS, help=text)
    text = "dot: follow a dot on a screen; directions: turn as LEDs or words say (default: what the view can show)"
    parser.add_argument("--challenge", choices=("dot", "directions"), help=text)


def tier(options: argparse.Namespace) -> Assurance:
    """The tier that the options ask for."""
    from facesdk.types import Assurance

    tiers = {"challenge": Assurance.RGB_CHALLENGE, "passive": Assurance.RGB_PASSIVE, "none": Assurance.NONE}
    return tiers[options.liveness or LIVENESS[0]]


def check_source(options: argparse.Namespace) -> None:
    """Ends as argparse ends what does not fit, unless there are either pictures or a camera."""
    if bool(options.pictures) == (options.camera is not None):
        options.does_not_fit("give either pictures or --camera; facesdk cameras lists what can be opened")
    ours = [name for name in ("liveness", "challenge", "view", "timeout", "rotate") if getattr(options, name, None)]
    if options.pictures and ours:  # a script that put pictures in a camera's place must not be opened by them
        options.does_not_fit(f"--{ours[0]} is for --camera: pictures say nothing about life")


def through(options: argparse.Namespace, begin: Callable[[str, str], Session]) -> Outcome:
    """The outcome of one session, fed by the camera: begun with its label and the challenge that the view can show."""
    with (
        _view(options) as view,
        _opened(options) as camera,
        begin(label_of(camera), view.challenge) as session,
        _until_told(lambda: session.cancel("ended from outside")),
    ):
        for frame in camera:
            progress = session.feed(frame)
            view.show(progress, frame)
            if progress.done or view.closed:
                break
        session.cancel("the view was closed" if view.closed else "the camera gave no more pictures")
    assert session.outcome is not None  # its end gives it one
    return session.outcome


def watch(context: Context, options: argparse.Namespace) -> int:
    """Verifies without end; 0 once it was told to end, 5 for a camera that is lost."""
    from facesdk.cli.verifying import make_verifier

    commands = {"on_match": _words(options.on_match, "--on-match"), "on_leave": _words(options.on_leave, "--on-leave")}
    with (
        make_verifier(context, options) as verifier,
        _view(options) as view,
        _opened(options) as camera,
        verifier.watch(
            context.user, camera, purpose=options.purpose, liveness=tier(options),
            challenge=options.challenge or view.challenge, leave_after_s=options.leave_after,
            on_progress=lambda progress, frame: watched.cancel() if view.closed else view.show(progress, frame),
            label=label_of(camera),
        ) as watched,
        _until_told(watched.cancel),
    ):  # fmt: skip
        _Door(context, commands, view).watch(watched)
    return 0


class _Door:
    """Runs the commands: on_match once the owner is there, on_leave when that is over, whatever ends it."""

    def __init__(self, context: Context, commands: dict[str, list[str]], view: Any) -> None:
        self._context, self._commands, self._view = context, commands, view
        self._open = False

    def watch(self, events: Any) -> None:
        """Until the events end."""
        from facesdk.capture.watcher import WatchKind

        try:
            for event in events:
                with self._view.aside():
                    if self._open and event.kind is not WatchKind.MATCHED:
                        self.close()
                    self._tell(event)
                    if event.kind is WatchKind.MATCHED:
                        self._open = True
                        self._run("on_match")
        finally:
            if self._open:
                self.close()

    def close(self) -> None:
        """Run on_leave, once."""
        self._open = False
        self._run("on_leave")

    def _tell(self, event: WatchEvent) -> None:
        if self._context.json:
            result = {
                "event": event.kind.name.lower(), "reason": event.text, "guidance": event.guidance.value or None,
                "retry_after_s": event.retry_after_s or None,
                "decision": event.outcome.decision.value if event.outcome else None,
                "assurance": event.outcome.assurance.name.lower() if event.outcome else None,
            }  # fmt: skip
            print(as_json(result), flush=True)
        else:
            print(f"{event.kind.name.lower()}: {event.text}", flush=True)

    def _run(self, name: str) -> None:
        words, option = self._commands[name], f"--{name.replace('_', '-')}"
        if not words:
            return
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, timeout=COMMAND_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            say(f"{option}: {error}")
        else:
            if done.returncode:
                say(f"{option}: {words[0]} ended with {done.returncode}")


def _words(command: str | None, option: str) -> list[str]:
    """A command and its arguments. UsageError for quotes that do not end, or a program that is not there."""
    import shutil

    try:
        words = shlex.split(command or "")
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint="quote it as a shell would want it") from error
    if words and shutil.which(words[0]) is None:
        raise UsageError(f"{option}: there is no program {words[0]}", hint="name it with its whole path")
    return words


@contextlib.contextmanager
def _until_told(stop: Callable[[], None]) -> Iterator[None]:
    """Within, a signal to end stops in order, and so does each further one: what is to be locked is locked first."""

    def told(_number: int, _frame: object) -> None:
        stop()

    before = {number: signal.signal(number, told) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _view(options: argparse.Namespace) -> Any:
    from facesdk.cli.secrets import at_terminal
    from facesdk.views import open_view

    return open_view(options.view or ("terminal" if at_terminal() else "text"))


def _say_event(event: Any) -> None:
    say(str(event.text))


def _opened(options: argparse.Namespace) -> Any:
    """The camera, or the recording, whose every frame is given with the times that it has."""
    from facesdk.camera import open_camera, open_source

    if not options.camera:
        raise UsageError("--camera is empty", hint="give a camera's number; facesdk cameras lists them")
    path = Path(options.camera)
    if path.is_dir() or path.is_file():
        return open_source(path, rotate=options.rotate)
    return open_camera(options.camera, rotate=options.rotate, on_event=_say_event)


def label_of(camera: Any) -> str:
    """The camera's name for the audit log."""
    return str(getattr(camera, "label", "recording"))
