"""The command redteam: a person records attacks and living people before his own camera, and grades it with them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk.cli import live
from facesdk.cli.context import Context
from facesdk.cli.options import FOLDER, add_engine, add_path, add_vault
from facesdk.cli.output import say, show
from facesdk.errors import UsageError

if TYPE_CHECKING:
    from facesdk.engine import Engine
    from facesdk.evaluation.redteam_record import Recorder
    from facesdk.evaluation.redteam_session import Matcher

SPECIES = "live|print|bent|phone|tablet|mask|other:NAME"
NOTICE = (
    "For testing, and here alone, facesdk writes pictures: every frame of what stands before the camera, unencrypted,\n"
    "into {folder}. Record only people who agree. Delete the folder when the test is done."
)


def add(commands: Any) -> None:
    """The commands of this module."""
    text = "Test a camera with attacks of one's own: record clips, put them through sessions, say what passed."
    parser = commands.add_parser("redteam", help=text, description=text, allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_record(_action(actions, "record", record, "Record clips. The one command that writes pictures asks first."))
    _add_run(_action(actions, "run", run, "Put every clip through a session; costs the owner no attempt."))
    _action(actions, "report", report, "Say what passed, as JSON and as one page with plots (extra: eval).")


def _action(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_path(parser, "folder", complete=FOLDER, metavar="DIR", help="of the test; record makes it, for you alone")
    return parser


def _add_record(parser: argparse.ArgumentParser) -> None:
    live.add_camera(parser, needed=True)
    parser.add_argument("--species", required=True, metavar="NAME", help=f"what stands there: {SPECIES}")
    text = "who is shown, by the name of their template (default: %(default)s)"
    parser.add_argument("--person", default="owner", metavar="NAME", help=text)
    text = "the longest that a clip lasts (default: 8, live 20, which are two tries)"
    parser.add_argument("--seconds", type=float, metavar="S", help=text)
    parser.add_argument("--count", type=int, default=1, metavar="N", help="clips (default: %(default)s)")
    text = "what is shown meanwhile: dot or directions (default: what the view can show)"
    parser.add_argument("--challenge", choices=("dot", "directions"), help=text)
    parser.add_argument("--simulated", action="store_true", help="the frames are rendered: reported apart")
    parser.add_argument("--yes", action="store_true", help="write pictures, do not ask")
    add_engine(parser)


def _add_run(parser: argparse.ArgumentParser) -> None:
    add_vault(parser, user=False)
    text = "compare with this template too, with its key; no attempt is charged (default: liveness alone)"
    parser.add_argument("--user", metavar="NAME", help=text)
    text = "what a session must say about life: challenge (default), passive (facesdk models add) or none"
    parser.add_argument("--liveness", choices=live.LIVENESS, help=text)
    text = "of the fresh paths: dot or directions (default: what the clips were recorded with, else dot)"
    parser.add_argument("--challenge", choices=("dot", "directions"), help=text)
    text = "fresh paths that each attack is put through (default: %(default)s)"
    parser.add_argument("--draws", type=int, default=3, metavar="N", help=text)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the fresh paths (default: %(default)s)")
    parser.add_argument("--restart", action="store_true", help="forget the results that are there")
    add_engine(parser)


def record(context: Context, options: argparse.Namespace) -> int:
    """Records clips, once somebody has said that pictures may be written."""
    from facesdk.evaluation.redteam_folder import checked_person, checked_species, make_folder
    from facesdk.evaluation.redteam_record import Recorder
    from facesdk.evaluation.redteam_session import Looking
    from facesdk.policy import Policy
    from facesdk.types import Assurance

    species, person = checked_species(options.species), checked_person(options.person)
    if not 1 <= options.count <= 1000:
        raise UsageError("--count is 1 to 1000")
    _agreed(options)
    folder = make_folder(options.folder)
    looking = Looking(_engine(options, options.embedder), Policy(), Assurance.RGB_CHALLENGE, without_networks=True)
    kept: list[dict[str, Any]] = []
    for number in range(options.count):
        _announce(number, options)
        made: list[Recorder] = []

        def begin(camera: str, challenge: str, made: list[Recorder] = made) -> Any:
            made.append(Recorder(
                folder, looking, species=species, person=person, camera=camera, simulated=options.simulated,
                challenge=options.challenge or challenge, seconds=options.seconds,
            ))  # fmt: skip
            return made[0]

        live.through(options, begin)
        if (clip := made[0].clip) is None:
            say("this clip was given up, and is not kept")
            break
        kept.append({"clip": clip.name, "frames": len(clip.times_s or ())})
    lines = [f"recorded {row['clip']}: {row['frames']} frames" for row in kept]
    lines += [f"next: facesdk redteam run {folder}"] if kept else ["nothing was recorded"]
    show(context, {"folder": str(folder), "clips": kept}, lines)
    return 0 if len(kept) == options.count else 1


def _agreed(options: argparse.Namespace) -> None:
    """UsageError unless somebody says yes to pictures being written."""
    from facesdk.cli.secrets import ask, at_terminal

    say(NOTICE.format(folder=options.folder))
    if options.yes:
        return
    if not at_terminal():
        raise UsageError("nothing was recorded: without a terminal nobody can be asked", hint="--yes says yes to it")
    if ask("Write pictures? Type yes: ").lower() != "yes":
        raise UsageError("nothing was recorded: somebody must say yes to it")


def _announce(number: int, options: argparse.Namespace) -> None:
    """Between clips a person changes something; a script goes on."""
    from facesdk.cli.secrets import ask, at_terminal

    if options.count == 1:
        return
    say(f"clip {number + 1} of {options.count}, {options.species}")
    if number and not options.yes and at_terminal():
        ask("Change light, distance or angle, then press Enter. ")


def run(context: Context, options: argparse.Namespace) -> int:
    """Judges every clip that has no result yet."""
    from facesdk.capture.means import CHALLENGES
    from facesdk.evaluation.redteam_folder import clips_of
    from facesdk.evaluation.redteam_run import Settings
    from facesdk.evaluation.redteam_run import run as judge_all
    from facesdk.evaluation.redteam_session import Looking
    from facesdk.policy import Policy

    clips = clips_of(options.folder)  # before anybody is asked for a passphrase
    matcher = _matcher(context, options)
    engine = matcher.engine if matcher else _engine(options, options.embedder)
    looking = Looking(engine, matcher.policy if matcher else Policy(), live.tier(options))
    shown = {clip.challenge for clip in clips if clip.challenge}
    challenge = options.challenge or (shown.pop() if len(shown) == 1 else CHALLENGES[0])
    settings = Settings.of(looking, matcher, challenge=challenge, draws=options.draws, seed=options.seed)
    done, left_out = judge_all(options.folder, looking, matcher, settings, restart=options.restart, progress=_tell)
    lines = [f"{done} sessions judged, of {len(clips)} clips"]
    if left_out:
        lines.append(f"left out: {len(left_out)} live clips that were not recorded by facesdk redteam record, so that "
                     "nobody knows what they were shown; --liveness passive judges them")  # fmt: skip
    lines.append(f"next: facesdk redteam report {options.folder}")
    result = {"folder": str(options.folder), "clips": len(clips), "sessions": done,
              "left_out": [clip.name for clip in left_out]}  # fmt: skip
    show(context, result, lines)
    return 0


def _tell(done: int, of: int) -> None:
    if done % 10 == 0 or done == of:
        say(f"{done} of {of} sessions")


def _matcher(context: Context, options: argparse.Namespace) -> Matcher | None:
    from facesdk.cli.secrets import opening_key
    from facesdk.evaluation.redteam_session import Matcher

    if options.user is None:
        if context.has_key:
            raise UsageError("a key opens a template: name its --user")
        return None
    make_engine = partial(_engine, options)
    return Matcher.of(context.open_vault(once=True), options.user, opening_key(context), make_engine)


def _engine(options: argparse.Namespace, embedder: str | None) -> Engine:
    from facesdk.engine import Engine
    from facesdk.engine.engine import DEFAULT_EMBEDDER

    return Engine(options.embedder or embedder or DEFAULT_EMBEDDER, threads=options.threads, runtime=options.runtime)


def report(context: Context, options: argparse.Namespace) -> int:
    """Writes the report, and says its headline."""
    from facesdk.evaluation.redteam_folder import REPORT
    from facesdk.evaluation.redteam_report import make_report

    result = make_report(options.folder)
    path: Path = options.folder / REPORT
    short = [{"part": part["part"], "apcer_worst": part["apcer_worst"], "bpcer": part["bpcer"],
              "iapar_worst": part["iapar_worst"], "words": part["words"]} for part in result["parts"]]  # fmt: skip
    show(context, {"report": str(path), "parts": short}, [*_headlines(result), f"report: {path / 'report.html'}"])
    return 0


def _headlines(result: dict[str, Any]) -> Iterator[str]:
    from facesdk.evaluation.redteam_counts import percent

    for part in result["parts"]:
        yield f"{part['part']} clips:"
        for name, rate in (("APCER, worst species", part["apcer_worst"]), ("IAPAR, worst species", part["iapar_worst"]),
                           ("BPCER", part["bpcer"]))  :  # fmt: skip
            if rate is not None and rate["n"]:
                species = f" ({rate['species']})" if "species" in rate else ""
                yield (f"  {name}{species}: {percent(rate['rate'])}, {rate['errors']} of {rate['n']} clips, "
                       f"at most {percent(rate['limit_95'])} (95 %)")  # fmt: skip
        yield from (f"  {line}" for line in part["words"])
