"""Writes into models/optional.toml what is made of the networks that are not shipped: size, sha256, golden answers.

python tools/make_optional.py FOLDER [--check]: FOLDER has the files as their authors published them. The answers are
those of tests/optional/slow_twin.py, to which the converted network is held. --check only says whether they are as they
should be (exit code 1).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "optional")]


def section(name: str, folder: Path) -> dict[str, str]:
    """The lines of one network, by their key."""
    from slow_twin import classes

    from facesdk.digest import sha256
    from facesdk.engine.building.writer import write
    from facesdk.engine.optional.catalogue import catalogue
    from facesdk.engine.optional.golden import golden_crop, network_input
    from facesdk.engine.optional.minifasnet import minifasnet
    from facesdk.engine.optional.pth import read_state_dict

    known = catalogue()[name]
    data = (folder / known.source.file).read_bytes()
    if sha256(data).hex() != known.source.sha256:
        raise SystemExit(f"error: {known.source.file} is not the expected file")
    tensors = read_state_dict(data)
    model = write(minifasnet(name, tensors))
    answers = []
    for golden in known.golden:
        probabilities = classes(tensors, network_input(golden_crop(golden.seed))[0])
        answers.append([golden.seed, *(round(float(p), 6) for p in probabilities)])
    return {"size": str(len(model)), "sha256": f'"{sha256(model).hex()}"', "golden": json.dumps(answers)}


def main() -> int:
    """Writes, or says what is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    path = ROOT / "models" / "optional.toml"
    text = before = path.read_text(encoding="utf-8")
    for name in re.findall(r"^\[networks\.(\w+)\]", text, re.M):
        start = text.index(f"[networks.{name}]")
        head, part = text[:start], text[start:]
        for key, value in section(name, options.folder).items():
            part = re.sub(rf"^{key} = .*$", f"{key} = {value}", part, count=1, flags=re.M)
        text = head + part
    if not options.check:
        path.write_text(text, encoding="utf-8")
    print(
        "nothing has changed"
        if text == before
        else f"models/optional.toml is {'stale' if options.check else 'written'}"
    )
    return 1 if options.check and text != before else 0


if __name__ == "__main__":
    sys.exit(main())
