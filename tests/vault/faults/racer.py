"""One of several processes that use a vault at once: `racer.py ROOT SEED OPERATIONS WHAT` prints a line per operation.

WHAT: "all" kinds of operations, or only attempts that do "fail". Started for ROOT/vault with the keys ROOT/a, ROOT/b.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from world import record

from facesdk.errors import KeyUnavailableError, LockedOutError, NotEnrolledError, PassphraseRequiredError
from facesdk.vault import KeyFileKey, KeyringOpenKeys, Vault, VaultFolder
from facesdk.vault import userfiles as userfile
from facesdk.vault.rules import AttemptRules

USER = "alice"
RULES = AttemptRules(passphrase_every_s=3600, idle_s=None, free_attempts=20, first_delay_s=1, passphrase_after=20)


class Racer:
    """Does one operation after the other, each as soon as it can."""

    def __init__(self, root: Path, seed: int) -> None:
        self._vault = Vault(VaultFolder(root / "vault"), KeyringOpenKeys(root / "vault"))
        self._keys = [KeyFileKey(root / "a"), KeyFileKey(root / "b")]
        self._random = random.Random(seed)

    def attempt(self, *, matches: bool) -> str:
        _, held = self._vault.state(USER)
        try:
            matched = self._vault.attempt(
                USER, lambda _: matches, generation=held.generation if held else 0, camera="files", label=""
            )
        except (PassphraseRequiredError, LockedOutError) as error:
            return type(error).__name__
        return "match" if matched else "non_match"

    def by_key(self, what: str) -> str:
        """With the key that opens the file now, which another process may just have changed: both are tried."""
        refused = 0
        for key, other in self._random.sample([self._keys, self._keys[::-1]], 2):
            try:
                if what == "unlock":
                    self._vault.unlock(USER, key, rules=RULES)
                elif what == "enroll":
                    self._vault.enroll(record(), key, replace=True, rules=RULES)
                elif what == "rekey":
                    self._vault.rekey(USER, key, other, rules=RULES)
                else:
                    self._vault.renew(USER, key, rules=RULES)
            except KeyUnavailableError:
                refused += 1
                continue
            return f"{what} {refused}"
        return f"refused {refused}"

    def one(self) -> str:
        what = self._random.choices(
            ["match", "fail", "unlock", "rekey", "renew", "enroll", "lock"], [2, 8, 8, 2, 2, 1, 1]
        )[0]
        if what in ("match", "fail"):
            return self.attempt(matches=what == "match")
        if what == "lock":
            self._vault.lock(USER)
            return "lock 0"
        return self.by_key(what)


def main(root: str, seed: str, operations: str, what: str) -> None:
    """Prints `ready`, waits for a line, then works."""
    racer = Racer(Path(root), int(seed))
    userfile.FREE_REFUSALS = 1_000_000  # type: ignore[misc]  # here wrong keys are no guesses
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(operations)):
        try:
            print(racer.one() if what == "all" else racer.attempt(matches=False), flush=True)
        except NotEnrolledError:
            print("not enrolled", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
