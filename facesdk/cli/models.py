"""The command models: what is shipped, the networks that a user adds, and what the Edge TPU compiler would do."""

from __future__ import annotations

import argparse
import os
from typing import Any

from facesdk.cli.context import Context, home
from facesdk.cli.options import add_command, add_path
from facesdk.cli.output import show


def add(commands: Any) -> None:
    """The commands of this module."""
    listing = add_command(commands, "models", models, "List the models and check their hashes.")
    actions = listing.add_subparsers(dest="action", metavar="ACTION")
    text = "Keep networks that are not shipped: known files, which are converted and tried first."
    adding = _action(actions, "add", add_models, text)
    add_path(adding, "files", nargs="+", metavar="FILE", help="a .pth file as its authors published it")
    _add_system(adding)
    removing = _action(actions, "remove", remove_model, "Remove a network that was added.")
    removing.add_argument("name", metavar="NAME", help="as facesdk models has it")
    _add_system(removing)
    text = "Say whether the Edge TPU compiler would take all of a .tflite, and whether it fits."
    check = _action(actions, "check-edgetpu", check_edgetpu, text)
    add_path(check, "file", metavar="FILE", help="a .tflite file")


def _action(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")
    return parser


def _add_system(parser: argparse.ArgumentParser) -> None:
    text = "for every user of this machine, in /usr/local/share/facesdk-models (default: for you alone)"
    parser.add_argument("--system", action="store_true", help=text)


def models(context: Context, options: argparse.Namespace) -> int:
    """Lists the models and checks their hashes."""
    from facesdk.device.doctor import check_models

    rows = check_models()
    lines = [f"{'ok ' if r['ok'] else 'BAD'} {r['name']} {r['version']} ({r['licence']}) {r['size']} bytes\n"
             f"    sha256 {r['sha256']}\n    from {r['origin']}" for r in rows]  # fmt: skip
    optional = _optional()
    for row in optional:
        mark = "no " if row["path"] is None else "ok " if row["ok"] else "BAD"
        lines.append(f"{mark} {row['name']} ({row['licence']}, {row['author']}) {row['path'] or 'not added'}\n"
                     f"    {row['description']}\n    made of {row['source']}, {row['origin']}")  # fmt: skip
    problems = [r["problem"] for r in (*rows, *optional) if r["problem"]]
    show(context, {"models": rows, "optional": optional}, [*lines, *problems])
    return 6 if problems else 0


def _optional() -> list[dict[str, Any]]:
    """One entry for each network that can be added."""
    from facesdk.engine.optional.catalogue import catalogue
    from facesdk.engine.optional.store import kept, usual_folders

    rows = []
    for known in catalogue().values():
        found = kept(known, usual_folders())
        rows.append({
            "name": known.name, "licence": known.model.licence, "author": known.author,
            "description": known.model.description, "source": known.source.file, "origin": known.model.origin,
            "sha256": known.model.sha256, "path": found and str(found.path),
            "ok": found is not None and not found.problem, "problem": (found and found.problem) or None,
        })  # fmt: skip
    return rows


def add_models(context: Context, options: argparse.Namespace) -> int:
    """Keeps networks of known files."""
    from facesdk.engine.optional.adding import add as keep_files
    from facesdk.engine.optional.store import SYSTEM, user_folder
    from facesdk.vault.folder import check_owner

    if not options.system and not os.environ.get("XDG_DATA_HOME") and not user_folder().exists():
        check_owner(home(), made="folder of models")  # root with another's HOME: that user could not use it
    kept = keep_files(options.files, SYSTEM if options.system else user_folder())
    lines = [f"added {known.name}: {path}\n    {known.model.description} ({known.model.licence}, {known.author})"
             for known, path in kept]  # fmt: skip
    show(context, {"added": [{"name": known.name, "path": str(path)} for known, path in kept]}, lines)
    return 0


def remove_model(context: Context, options: argparse.Namespace) -> int:
    """Removes a network that was added."""
    from facesdk.engine.optional.catalogue import named
    from facesdk.engine.optional.store import SYSTEM, remove, user_folder

    path = remove(named(options.name), SYSTEM if options.system else user_folder())
    show(context, {"removed": str(path)}, [f"removed {path}"])
    return 0


def check_edgetpu(context: Context, options: argparse.Namespace) -> int:
    """Says what the Edge TPU compiler would do with a .tflite; 0 if all of it maps and fits, else 1."""
    from facesdk.device.edgetpu_rules import check

    report = check(options.file)
    rows = report["ops"]
    kib = {key: f"{report[f'{key}_bytes'] / 1024:,.0f} KiB" for key in ("parameter", "capacity", "on_chip")}
    mapped = f"{report['on_edge_tpu']} of {len(rows)} operators run on the Edge TPU"
    mapped = "compiled already" if report["compiled"] else mapped
    lines = [
        *(f"{r['index']:4} {r['name']:20} {_tensors(r['inputs'])} -> {_tensors(r['outputs'])}  {r['runs_on']}"
          f"{': ' + r['reason'] if r['reason'] else ''}" for r in rows),
        f"{mapped}; by the published rules, the compiler's log has the last word",
        f"parameters {kib['parameter']}; the compiler leaves at least {kib['capacity']} of {kib['on_chip']} for them: "
        f"{'fits' if report['fits'] else 'does not fit, the rest is streamed at every run'}",
    ]  # fmt: skip
    show(context, report, lines)
    return 0 if report["ok"] else 1


def _tensors(tensors: list[dict[str, Any]]) -> str:
    return ", ".join(f"{t['dtype']}[{'x'.join(str(n) for n in t['shape'])}]" for t in tensors)
