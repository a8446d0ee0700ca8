"""Features of real networks: none is left in the process after enrolling, verifying and a refused enrollment."""

from __future__ import annotations

import subprocess
import sys

from conftest import PORTRAITS

# Pieces of each vector are kept masked, and so is what is searched: the search itself leaves no copies.
SCRIPT = """
import gc, mmap, re, sys
import numpy as np
from facesdk import Engine, FaceVerifier
from facesdk.capture import samples as capture
from facesdk.errors import EnrollmentError

pieces, embed, add_mirror_image = [], Engine.embed, capture._add_mirror_image

def remember(vector):
    data = vector.view(np.uint8)
    pieces.extend(bytes(data[i : i + 16] ^ np.uint8(0x5A)) for i in range(32, 496, 64))

def embedding(self, sample):
    features = embed(self, sample)
    remember(features._vector)
    return features

def adding(made, sample, engine):
    add_mirror_image(made, sample, engine)
    remember(made[-1]._vector)

def count():
    gc.collect()
    found = 0
    with open("/proc/self/maps") as maps:
        areas = [line.split()[:2] for line in maps]
    with open("/proc/self/mem", "rb", 0) as memory:
        for area, flags in areas:
            begin, end = (int(number, 16) for number in area.split("-"))
            if not flags.startswith("rw"):
                continue
            # In pages of its own, which go with it: unmasked, the copy has the pieces themselves.
            with mmap.mmap(-1, end - begin) as data:
                memory.seek(begin)
                memory.readinto(data)
                bytes_of = np.frombuffer(data, np.uint8)
                bytes_of ^= np.uint8(0x5A)
                found += sum(len(re.findall(re.escape(piece), data)) for piece in pieces)
                del bytes_of
    return found

Engine.embed, capture._add_mirror_image = embedding, adding
portraits, vault = sys.argv[1:]
engine = Engine("sface")
alive = engine.embed(engine.sample(__import__("facesdk.images").images.load_rgb(f"{portraits}/biden.jpg")))
print("planted", count() >= len(pieces))
pieces.clear()
verifier = FaceVerifier(vault, passphrase="only for this test", engine=engine)
verifier.enroll("owner", [f"{portraits}/obama_2005.jpg", f"{portraits}/obama_2009.jpg"], allow_few_samples=True)
print("enrolled", count())
assert verifier.verify("owner", [f"{portraits}/obama_2012.jpg", f"{portraits}/obama_2009.jpg"])
print("verified", count())
try:
    verifier.enroll("other", [f"{portraits}/obama_2005.jpg", f"{portraits}/sunak.jpg"], allow_few_samples=True,
                    passphrase="others")
except EnrollmentError:
    print("refused", count())
print("pieces", len(pieces))
"""


def test_no_features_are_left_in_memory(tmp_path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(PORTRAITS), str(tmp_path / "vault")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "planted", "True", "enrolled", "0", "verified", "0", "refused", "0", "pieces", str((2 * 3 + 2 + 2 * 3) * 8)
    ]  # fmt: skip
