"""A template moves to another embedder: it is written anew with the samples of it that were learned."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from facesdk._core import Secret, wipe
from facesdk.errors import InputError
from facesdk.matching import make_reference
from facesdk.vault.audit.entry import AuditEvent
from facesdk.vault.format import Header
from facesdk.vault.keys.provider import KeyProvider
from facesdk.vault.learned import SampleSet
from facesdk.vault.open_keys import OpenKey
from facesdk.vault.record import Record
from facesdk.vault.rules import AttemptRules
from facesdk.vault.template import Template, pack
from facesdk.vault.userfiles import UserFiles

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    MayMove = Callable[[Template, SampleSet], bool]


def moved(
    file: UserFiles, provider: KeyProvider, opened: tuple[Header, Secret, Template], *, rules: AttemptRules,
    may_move: MayMove,
) -> OpenKey | None:  # fmt: skip
    """Writes the opened template anew with the samples of the embedder that it moves to, once they are complete.

    None where there are none that may take its place, or that make no template: a warning says so, and it goes on.
    """
    _, kek, template = opened
    with contextlib.closing(file.learned(kek, template)) as learned:
        ready = next((one for one in learned.sets if one.complete and may_move(template, one)), None)
        if ready is None:
            return None
        try:
            held = _with_samples(file, provider, opened, ready, rules)
        except InputError as error:
            warnings.warn(f"{file.user!r} stays with {template.embedder}: {error}", RuntimeWarning, stacklevel=4)
            return None
    with contextlib.suppress(OSError):  # of no use any more: its key is another one's
        file.folder.drop_learned(file.user)
    return held


def _with_samples(
    file: UserFiles, provider: KeyProvider, opened: tuple[Header, Secret, Template], ready: SampleSet,
    rules: AttemptRules,
) -> OpenKey:  # fmt: skip
    import numpy as np

    header, kek, template = opened
    samples = template.turned(list(ready.vectors), dimension=ready.vectors.shape[1], inverse=True)
    plain: list[npt.NDArray[np.float32]] = []
    try:
        plain += [np.stack(samples)]
        plain += [make_reference(samples)]
        record = Record(
            user=file.user, embedder=ready.embedder, model_ids=ready.model_ids, samples=plain[0], reference=plain[1],
            created_unix_s=template.created_unix_s, consent=template.consent, policy=template.policy,
        )  # fmt: skip
        return file.put(
            kek, provider, lambda g: pack(record, kek, generation=g), event=AuditEvent.UPDATED, rules=rules,
            keep=header.section, old=(header, kek), after=template.generation, label="moved",
        )  # fmt: skip
    finally:
        for array in plain:
            wipe(array)
