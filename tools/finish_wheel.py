"""Checks a wheel's SBOM, and writes the wheel packed as small as can be, and the SBOM, into a folder.

python tools/finish_wheel.py WHEEL --out DIR

The SBOM (tools/sbom.py made it with the wheel) must be CycloneDX 1.6, and name every file by the hash that it has now,
after auditwheel. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import zopfli.zlib
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from sbom import NAME


class Zopfli:
    """Deflate as zipfile wants it, of one whole file: the best of its kind, 1.6 % smaller wheels in 20 s."""

    def __init__(self) -> None:
        self._data = bytearray()

    def compress(self, data: bytes) -> bytes:
        self._data += data
        return b""

    def flush(self) -> bytes:
        return bytes(zopfli.zlib.compress(bytes(self._data), numiterations=1)[2:-4])  # without zlib's header and sum


def read_sbom(wheel: zipfile.ZipFile) -> bytes:
    """The SBOM in a wheel. ValueError if there is none."""
    names = [name for name in wheel.namelist() if name.endswith(f".dist-info/sboms/{NAME}")]
    if not names:
        raise ValueError(f"no {NAME} in the wheel's .dist-info/sboms")
    return wheel.read(names[0])


def wrong_files(wheel: zipfile.ZipFile, document: dict[str, Any]) -> Iterator[str]:
    """Files that the SBOM names and that are not what it says."""
    for component in document["components"]:
        paths = [p["value"] for p in component.get("properties", []) if p["name"] == "facesdk:path"]
        for path in paths:
            found = hashlib.sha256(wheel.read(path)).hexdigest() if path in wheel.namelist() else "nothing"
            wanted = component["hashes"][0]["content"]
            if found != wanted:
                yield f"{path}: the SBOM says {wanted}, in the wheel is {found}"


def repack(source: zipfile.ZipFile, target: Path) -> None:
    """Writes the same files, their names, times and modes as they are, in the fewest bytes."""
    with patch("zipfile._get_compressor", lambda *_kind: Zopfli()), zipfile.ZipFile(target, "w") as out:
        for info in source.infolist():
            out.writestr(info, source.read(info), zipfile.ZIP_DEFLATED)


def main() -> None:
    """Exits with the reason if the SBOM is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for the smaller wheel and for the SBOM")
    given = parser.parse_args()
    with zipfile.ZipFile(given.wheel) as source:
        try:
            sbom = read_sbom(source)
        except ValueError as error:
            sys.exit(f"{given.wheel.name}: {error}")
        problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.decode())
        if problem is not None:
            # The rest is the whole schema and the whole document.
            sys.exit(f"the SBOM is not CycloneDX 1.6: {str(problem).splitlines()[0]}")
        wrong = list(wrong_files(source, json.loads(sbom)))
        if wrong:
            sys.exit("\n".join(wrong))
        repack(source, given.out / given.wheel.name)
    (given.out / f"{given.wheel.stem}.cdx.json").write_bytes(sbom)


if __name__ == "__main__":
    main()
