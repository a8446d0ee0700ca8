"""The verifier of a command: its key, its engines."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from facesdk.cli.context import Context
from facesdk.cli.secrets import opening_key
from facesdk.errors import UsageError

if TYPE_CHECKING:
    from facesdk.verifier import FaceVerifier


def engines(options: argparse.Namespace) -> dict[str, Any]:
    """What FaceVerifier is told of engines: the embedder that is named, or the template's own, as the options say."""
    from facesdk.engine import Engine

    make = partial(Engine, threads=options.threads, runtime=options.runtime)
    return {"engine": make(options.embedder)} if options.embedder else {"make_engine": make}


def make_verifier(
    context: Context, options: argparse.Namespace, *, learn: bool = False, migrate_to: str | None = None
) -> FaceVerifier:
    """A verifier with the key in the kernel's keyring, or with one named on the command line for this once."""
    from facesdk.verifier import FaceVerifier

    if migrate_to is not None and options.embedder:
        raise UsageError("--migrate-to starts from the template's own embedder", hint="leave --embedder out")
    key = opening_key(context) if context.has_key else None
    return FaceVerifier(
        context.folder, key=key, keyring=key is None, learn=learn, migrate_to=migrate_to, **engines(options)
    )
