"""What every contestant's process does; a run_*.py file gives it the two functions that differ.

    run_X.py STATE [options] enroll PHOTO    make the reference in STATE
    run_X.py STATE [options] verify PHOTO    one decision, then exit (the cold run)
    run_X.py STATE [options] serve           a path per line of stdin, a decision per line of stdout

A decision is one line of JSON: {"decision": "match", "elapsed_ms": 12.3}. The time is taken around the contestant's own
work alone, from the path of a file to the decision. Nothing but the standard library is imported here, so that what
a contestant imports is what it costs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Protocol


class Contestant(Protocol):
    """One way to enroll a person from a photo file and to verify another file against that."""

    def enroll(self, photo: str) -> None:
        """Keep the reference in the state folder."""

    def open(self) -> None:
        """Load what a verification needs; called once, before the first."""

    def verify(self, photo: str) -> bool:
        """True for the same person."""


def arguments(*options: str) -> argparse.Namespace:
    """The parsed command line; each option is the name of a required one with a value."""
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    for option in options:
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("action", choices=["enroll", "verify", "serve"])
    parser.add_argument("photo", nargs="?", default="")
    return parser.parse_args()


def run(contestant: Contestant, args: argparse.Namespace) -> None:
    """Do what the command line asks. Only decisions go to stdout: whatever the libraries print goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if args.action == "enroll":
        contestant.enroll(args.photo)
        return
    contestant.open()
    photos = [args.photo] if args.action == "verify" else (line.rstrip("\n") for line in sys.stdin)
    for photo in photos:
        begin = time.perf_counter()
        match = contestant.verify(photo)
        elapsed_ms = (time.perf_counter() - begin) * 1e3
        answer = {"decision": "match" if match else "non-match", "elapsed_ms": elapsed_ms}
        print(json.dumps(answer), file=answers, flush=True)
