"""Commands that measure on a user's own photos: evaluate and calibrate, with their options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesdk.cli.context import Context
from facesdk.cli.options import FOLDER, add_command, add_path
from facesdk.cli.output import say, show
from facesdk.errors import InputError, UsageError

if TYPE_CHECKING:
    from facesdk.evaluation.photos import Photos
    from facesdk.evaluation.study import Settings
    from facesdk.evaluation.workers import Workers

EVALUATE = "Measure errors on your own photos and write a report (extra: eval)."
CALIBRATE = "Find thresholds that hold a false match rate in every group of your own photos."
_EXTRA = ("matplotlib", "jinja2", "rich")
_SOURCE = "a folder with a folder for each person, or a CSV file (path,person,groups... or a,b,same)"


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError("numbers with commas between them were expected, as in 1e-3,2e-5") from error


def add(commands: Any) -> None:
    """The commands of this module."""
    add_evaluate(add_command(commands, "evaluate", evaluate, EVALUATE))
    add_calibrate(add_command(commands, "calibrate", calibrate, CALIBRATE))


def add_common(parser: argparse.ArgumentParser) -> None:
    """The options of both commands."""
    add_path(parser, "--groups", metavar="CSV", help="groups of pictures or people: path,... or person,...")
    parser.add_argument("--by", action="append", metavar="COLUMN", help="a column that is a group (default: all)")
    parser.add_argument("--embedder", metavar="NAME", help="sface (default), joint or mobilefacenet")
    parser.add_argument("--fmr", type=_numbers, metavar="LIST", help="false match rates to find thresholds for")
    text = "keep features here for the next run; they are biometric and in the clear: delete the folder when done"
    add_path(parser, "--cache", complete=FOLDER, metavar="DIR", help=text)
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one a processor)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap and the choice of photos")
    parser.add_argument("--draws", type=int, default=1000, metavar="N", help="of the bootstrap (default: %(default)s)")


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """The options of evaluate."""
    add_path(parser, "photos", nargs="+", metavar="PHOTOS", help=f"{_SOURCE}; or `merge PART...`")
    add_path(
        parser, "--out", complete=FOLDER, default=Path("facesdk-report"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--replace", action="store_true", help="replace a report that is there")
    add_common(parser)
    parser.add_argument("--threshold", type=_numbers, default=(), metavar="LIST", help="fixed thresholds to count at")
    text = "photos enrolled + photos verified, as in 3+3; may be repeated"
    parser.add_argument("--protocol", action="append", default=[], metavar="K+M", help=text)
    text = "compare also the pictures that a verification would refuse"
    parser.add_argument("--with-refused", action="store_true", help=text)
    text = "also write a picture of the non-mated pairs that look most alike: it holds photos"
    parser.add_argument("--sheet", action="store_true", help=text)
    text = "compute every nth picture's features only, into --out; `evaluate merge` makes the report of all parts"
    parser.add_argument("--shard", metavar="I/N", help=text)
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="let the workers of a Dask cluster compute (extra: dask)"
    )


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """The options of calibrate."""
    add_path(parser, "photos", metavar="PHOTOS", help=_SOURCE)
    add_path(parser, "--out", required=True, metavar="FILE", help="a new TOML file with operating points")
    add_common(parser)


def evaluate(context: Context, options: argparse.Namespace) -> int:
    """Writes a report, or a part of one."""
    if str(options.photos[0]) == "merge" and len(options.photos) > 1:
        return _merge(context, options)
    if len(options.photos) > 1:
        raise UsageError("expected one folder or CSV file of photos", hint="`merge` before the folders of parts")
    from facesdk.evaluation import parts
    from facesdk.evaluation.features import records_of

    shard = parts.parse_shard(options.shard) if options.shard else None
    if shard and options.sheet:
        raise UsageError("a part has no sheet: give --sheet to `evaluate merge`")
    if not shard:
        _check_report(options)
    photos, settings = _photos(options), _settings(options)
    with _workers(options) as workers, _progress() as progress:
        places = parts.places_of(shard, photos) if shard else range(len(photos.names))
        records = records_of(
            photos, places, embedder=settings.embedder, workers=workers, cache=options.cache, progress=progress
        )
        if shard:
            parts.write_part(options.out, shard, photos=photos, records=records, settings=settings)
            line = f"part {shard[0]} of {shard[1]}, {len(records.rows)} pictures, written to {options.out}"
            warning = "it holds biometric features in the clear: delete it when the report is made"
            show(context, {"part": list(shard), "out": str(options.out), "read": len(records.rows)}, [line, warning])
            return 0
        return _report(context, options, photos, records, settings, workers)


def _merge(context: Context, options: argparse.Namespace) -> int:
    """Makes the report of all parts; their settings stand in them."""
    from facesdk.evaluation.parts import read_parts

    _check_report(options)
    photos, records, settings = read_parts(options.photos[1:])
    with _workers(options) as workers:
        return _report(context, options, photos, records, settings, workers)


def _report(
    context: Context, options: argparse.Namespace, photos: Photos, records: Any, settings: Settings, workers: Workers
) -> int:
    from facesdk.evaluation.report import render, write
    from facesdk.evaluation.study import evaluate as measure

    result = measure(photos, records, settings, workers=workers, say=say)
    files = render(result)
    if options.sheet:
        from facesdk.evaluation.sheet import sheet

        files["sheet.jpg"] = sheet(result, photos.folder)
    write(files, options.out, replace=options.replace)
    everybody = result["one_to_one"]["groups"][0]
    short = {"report": str(options.out), "photos": result["photos"], "mated": everybody["mated"],
             "non_mated": everybody["non_mated"], "rates": everybody["rates"]}  # fmt: skip
    show(context, short, [*_summary(result), f"report: {options.out / 'report.html'}"])
    return 0


def _summary(result: dict[str, Any]) -> Iterator[str]:
    """The lines that a person reads first."""
    from facesdk.evaluation.report import interval_text, rate_text

    photos, everybody = result["photos"], result["one_to_one"]["groups"][0]
    yield f"{photos['read']:,} of {photos['listed']:,} pictures read, {photos['people']:,} people"
    fta, fte = (result[name]["groups"][0]["by_person"]["rate"] for name in ("fta", "fte"))
    yield f"refused at a verification {rate_text(fta)}, at an enrollment {rate_text(fte)} (by person)"
    yield f"{everybody['mated']:,} mated and {everybody['non_mated']:,} non-mated pairs, one photo against one:"
    for rates in everybody["rates"]:
        wanted = f" FMR {rates['target_fmr']:g}" if rates["target_fmr"] else ""
        both = [f"{name.upper()} {rate_text(e['by_person']['rate'])} ({interval_text(e['by_person']['bootstrap'])})"
                for name, e in (("fmr", rates["fmr"]), ("fnmr", rates["fnmr"]))]  # fmt: skip
        yield f"  {rates['threshold']:.5f} {rates['chosen'] + wanted:16} {', '.join(both)}"


def calibrate(context: Context, options: argparse.Namespace) -> int:
    """Writes operating points of the user's own photos."""
    from facesdk.evaluation.calibrating import operating_points, write_points
    from facesdk.evaluation.features import records_of

    if options.out.exists():
        raise UsageError(f"{options.out} exists already: --out names a new file")
    photos, settings = _photos(options), _settings(options)
    if photos.pairs is not None:
        raise UsageError("a list of pairs cannot be calibrated with: give a folder or a CSV file path,person")
    with _workers(options) as workers, _progress() as progress:
        records = records_of(photos, range(len(photos.names)), embedder=settings.embedder, workers=workers,
                             cache=options.cache, progress=progress)  # fmt: skip
    points = operating_points(photos, records, settings, say=say)
    write_points(options.out, settings.embedder, points)
    lines = [line for point in points for line in point.lines()]
    show(
        context,
        {"out": str(options.out), "points": [p.as_dict() for p in points]},
        [*lines, f"written to {options.out}"],
    )
    return 0


def _check_report(options: argparse.Namespace) -> None:
    """Before hours of work: the errors that would come at its end."""
    from facesdk.evaluation.report import check_free

    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise InputError(f"a report needs {', '.join(missing)}", hint="pip install 'facesdk-unlock[eval]'")
    check_free(options.out, replace=options.replace)


def _photos(options: argparse.Namespace) -> Photos:
    from facesdk.evaluation.photos import chosen_groups, read_photos, with_groups

    source = options.photos if isinstance(options.photos, Path) else options.photos[0]
    photos = read_photos(source)
    if options.groups is not None:
        photos = with_groups(photos, options.groups)
    return chosen_groups(photos, options.by)


def _settings(options: argparse.Namespace) -> Settings:
    from facesdk.engine.engine import DEFAULT_EMBEDDER
    from facesdk.evaluation.protocols import parse_protocol
    from facesdk.evaluation.study import TARGETS, Settings

    return Settings(
        embedder=options.embedder or DEFAULT_EMBEDDER, targets=options.fmr or TARGETS,
        thresholds=getattr(options, "threshold", ()),
        protocols=tuple(dict.fromkeys(parse_protocol(text) for text in getattr(options, "protocol", ()))),
        with_refused=getattr(options, "with_refused", False), draws=options.draws, seed=options.seed,
    )  # fmt: skip


@contextmanager
def _workers(options: argparse.Namespace) -> Iterator[Workers]:
    from facesdk.evaluation.workers import DaskWorkers, LocalWorkers

    if not getattr(options, "scheduler", None):
        yield LocalWorkers(options.workers)
        return
    if options.workers is not None:
        raise UsageError("--workers and --scheduler do not fit together: the cluster has its own")
    cluster = DaskWorkers(options.scheduler)
    try:
        yield cluster
    finally:
        cluster.close()


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Shows a bar while stderr is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pictures")
        yield lambda done, of: bar.update(task, completed=done, total=of)
