"""facesdk: vault and key file on disk, as an application would use it."""

from __future__ import annotations

from pathlib import Path

import runner

from facesdk import Engine, FaceVerifier, Policy
from facesdk.images import load_rgb


class FaceSdk:
    """FaceVerifier with one of the embedders, at the default operating point of one false match in 50,000."""

    def __init__(self, state: Path, embedder: str, threads: str) -> None:
        self._state = state
        self._embedder = embedder
        self._threads = threads if threads == "auto" else int(threads)

    def enroll(self, photo: str) -> None:
        from facesdk.vault import KeyFileKey

        KeyFileKey.create(self._state / "key")
        self.open()
        self._verifier.enroll("owner", [load_rgb(Path(photo))], allow_few_samples=True)

    def open(self) -> None:
        engine = Engine(embedder=self._embedder, threads=self._threads)
        self._verifier = FaceVerifier(
            vault=self._state / "vault",
            key_file=self._state / "key",
            policy=Policy(target_fmr=2e-5),
            engine=engine,
        )

    def verify(self, photo: str) -> bool:
        return bool(self._verifier.verify("owner", [load_rgb(Path(photo))]))


if __name__ == "__main__":
    args = runner.arguments("embedder", "threads")
    runner.run(FaceSdk(args.state, args.embedder, args.threads), args)
