"""From the features of an enrollment to the sealed template."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesdk import _core, matching
from facesdk.deciding import label_of
from facesdk.vault import Record
from facesdk.vault.audit.entry import FILES
from facesdk.vault.record import check_consent
from facesdk.vault.replacing import already_enrolled

if TYPE_CHECKING:
    from facesdk.capture.samples import Probe
    from facesdk.engine import Engine
    from facesdk.policy import Policy
    from facesdk.types import Float32Array
    from facesdk.vault import KeyProvider, Vault
    from facesdk.vault.opening import Opening


@dataclass(frozen=True)
class Enrolling:
    """An enrollment that has begun.

    opening: its mark, so that a lock or panic that comes until it is sealed holds. camera: for the audit log.
    """

    opening: Opening | None
    replace: bool
    consent: str
    camera: str

    @classmethod
    def begin(
        cls, vault: Vault, user: str, key: KeyProvider, *, replace: bool, consent: str, camera: str = FILES
    ) -> Enrolling:  # fmt: skip
        """Begin, once the key can be used and the name is free. AlreadyEnrolledError, and the errors of the key."""
        key.check()
        if not replace and vault.folder.exists(user):
            raise already_enrolled(user)
        return cls(vault.begin(user, enrolling=True), replace, consent, camera)

    def check(self, vault: Vault, user: str, key: KeyProvider) -> None:
        """What would stop the sealing: a consent that cannot be sealed, a key that does not open what is replaced."""
        check_consent(self.consent)
        if self.replace and vault.folder.exists(user):
            with vault.read(user, key):
                return

    def seal(
        self, vault: Vault, user: str, key: KeyProvider, enrolled: Probe, *, engine: Engine, policy: Policy
    ) -> None:  # fmt: skip
        """Seal the features; no copy of them is left in memory."""
        import numpy as np

        plain: list[Float32Array] = []
        try:
            plain += [matching.make_reference(enrolled.vectors)]
            plain += [np.stack(enrolled.vectors)]
            record = Record(
                user=user, embedder=engine.embedder, model_ids=engine.model_ids, reference=plain[0], samples=plain[1],
                created_unix_s=int(time.time()), consent=self.consent, policy=policy.sealed(),
            )  # fmt: skip
            vault.enroll(
                record, key, replace=self.replace, rules=policy.attempts, label=label_of(policy), opening=self.opening,
                camera=self.camera,
            )  # fmt: skip
        finally:
            for array in plain:
                _core.wipe(array)
