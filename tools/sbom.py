"""Writes a wheel's CycloneDX 1.6 SBOM into its .dist-info/sboms (PEP 770) and beside it.

python tools/sbom.py WHEEL --out DIR --compiler VERSION --pybind11 VERSION

What is in the wheel (our code, LiteRT's library, pybind11's headers, the compiler's library code, models and portraits)
and what it asks for at run time. The models' sizes and hashes are those of the wheel's own manifest, or nothing is
written. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import os
import re
import sys
import uuid
import zipfile
from datetime import datetime, timezone
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any
from unittest.mock import patch

import zopfli.zlib
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Json = dict[str, Any]
MODELS, PORTRAITS, LITERT = "facesdk/_models/", "facesdk/portraits/", "facesdk/_litert/"
# What is linked into LiteRT's library; native/LICENSES/README.md says how that is known.
LITERT_PARTS = {
    "tensorflow-lite": "Apache-2.0", "abseil-cpp": "Apache-2.0", "ruy": "Apache-2.0", "gemmlowp": "Apache-2.0",
    "flatbuffers": "Apache-2.0", "XNNPACK": "BSD-3-Clause", "cpuinfo": "BSD-2-Clause", "pthreadpool": "BSD-2-Clause",
    "FXdiv": "MIT", "FP16": "MIT", "eigen": "MPL-2.0", "farmhash": "MIT", "fft2d": "LicenseRef-Ooura-fft2d",
    "ARM_NEON_2_x86_SSE": "LicenseRef-Intel-ARM-NEON-2-x86-SSE",
}  # fmt: skip
GCC_LICENCE = "GPL-3.0-or-later WITH GCC-exception-3.1"


def _hashes(data: bytes) -> list[Json]:
    return [{"alg": "SHA-256", "content": hashlib.sha256(data).hexdigest()}]


def _licence(expression: str) -> list[Json]:
    return [{"expression": expression, "acknowledgement": "declared"}]


def _properties(**values: object) -> list[Json]:
    return [{"name": f"facesdk:{name}", "value": str(value)} for name, value in values.items()]


def model_components(wheel: zipfile.ZipFile) -> list[Json]:
    """The models of the wheel's manifest. ValueError if a file differs from it or is not in it."""
    manifest = tomllib.loads(wheel.read(f"{MODELS}manifest.toml").decode())
    files = {name for name in wheel.namelist() if name.startswith(MODELS) and name.endswith(".tflite")}
    result = []
    for name, entry in manifest["models"].items():
        path = MODELS + entry["file"]
        data = wheel.read(path)
        if len(data) != entry["size"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ValueError(f"{path} is not the file that the manifest names")
        files.remove(path)
        result.append({
            "type": "machine-learning-model", "bom-ref": f"model:{name}", "name": name, "version": entry["version"],
            "description": entry["description"], "hashes": _hashes(data), "licenses": _licence(entry["licence"]),
            "properties": _properties(path=path, origin=entry["origin"], origin_sha256=entry["origin_sha256"]),
        })  # fmt: skip
    if files:
        raise ValueError(f"not in the manifest: {', '.join(sorted(files))}")
    return result


def portrait_components(wheel: zipfile.ZipFile) -> list[Json]:
    """The portraits, whose licences stand in the CREDITS.md beside them."""
    names = sorted(n for n in wheel.namelist() if n.startswith(PORTRAITS) and n.endswith((".jpg", ".png")))
    return [
        {
            "type": "data", "bom-ref": f"portrait:{Path(name).stem}", "name": Path(name).name,
            "hashes": _hashes(wheel.read(name)), "properties": _properties(path=name, licence=f"{PORTRAITS}CREDITS.md"),
        }
        for name in names
    ]  # fmt: skip


def built_in(compiler: str, pybind11: str) -> list[Json]:
    """What of others is compiled into the extension module. libstdc++.so.6 itself is the system's."""
    return [
        {
            "type": "library", "bom-ref": f"pkg:pypi/pybind11@{pybind11}", "name": "pybind11", "version": pybind11,
            "description": "headers compiled into facesdk._core", "licenses": _licence("BSD-3-Clause"),
            "purl": f"pkg:pypi/pybind11@{pybind11}",
        },
        {
            "type": "library", "bom-ref": f"gcc@{compiler}", "name": "gcc", "version": compiler,
            "description": "libstdc++ templates, libgcc helpers and start files compiled into facesdk._core",
            "licenses": _licence(GCC_LICENCE),
        },
    ]  # fmt: skip


def litert_component(wheel: zipfile.ZipFile) -> Json:
    """LiteRT's library, as it is in the wheel of ai-edge-litert, with its known parts."""
    path, version = f"{LITERT}libLiteRt.so", wheel.read(f"{LITERT}VERSION").decode().strip()
    purl = f"pkg:pypi/ai-edge-litert@{version}"
    return {
        "type": "library", "bom-ref": purl, "name": "ai-edge-litert", "version": version, "purl": purl,
        "description": "LiteRT's C library, taken unchanged from its wheel", "hashes": _hashes(wheel.read(path)),
        "licenses": _licence("Apache-2.0"), "properties": _properties(path=path),
        "components": [
            {"type": "library", "bom-ref": f"litert:{name}", "name": name, "licenses": _licence(licence)}
            for name, licence in LITERT_PARTS.items()
        ],
    }  # fmt: skip


def requirements(metadata: Message) -> list[Json]:
    """What the wheel asks for at run time; not in the wheel. Optional are those of an extra."""
    result = []
    for line in metadata.get_all("Requires-Dist", []):
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        found = re.match(r"[A-Za-z0-9._-]+", requirement)
        if found is None:
            raise ValueError(f"a requirement without a name: {line}")
        name = re.sub(r"[-_.]+", "-", found.group()).lower()
        optional = "extra ==" in marker
        result.append({
            "type": "library", "bom-ref": f"requires:{len(result)}:{name}", "name": name,
            "scope": "optional" if optional else "required", "purl": f"pkg:pypi/{name}",
            "properties": _properties(requires=line),
        })  # fmt: skip
    return result


def make_sbom(wheel: zipfile.ZipFile, *, name: str, compiler: str, pybind11: str) -> Json:
    """The document; its serial number is made of its content, its time is SOURCE_DATE_EPOCH."""
    folder = dist_info(wheel)
    metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    package, version = metadata["Name"], metadata["Version"]
    purl = f"pkg:pypi/{package}@{version}"
    parts = [litert_component(wheel), *built_in(compiler, pybind11), *model_components(wheel)]
    parts += portrait_components(wheel)
    needed = requirements(metadata)
    moment = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "315532800")), timezone.utc)
    document: Json = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "timestamp": moment.isoformat(),
            "component": {
                "type": "library", "bom-ref": purl, "name": package, "version": version, "purl": purl,
                "description": metadata["Summary"], "licenses": _licence(metadata["License-Expression"]),
                "properties": _properties(wheel=name, requires_python=metadata["Requires-Python"]),
            },
        },
        "components": parts + needed,
        "dependencies": [{"ref": purl, "dependsOn": [c["bom-ref"] for c in parts + needed]}],
    }  # fmt: skip
    content = json.dumps(document, sort_keys=True)
    return {**document, "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"}


def dist_info(wheel: zipfile.ZipFile) -> str:
    """Name of the wheel's .dist-info folder."""
    return next(name.split("/")[0] for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))


class Zopfli:
    """Deflate as zipfile wants it, of one whole file: the best of its kind, 1.6 % smaller wheels in 20 s."""

    def __init__(self) -> None:
        self._data = bytearray()

    def compress(self, data: bytes) -> bytes:
        self._data += data
        return b""

    def flush(self) -> bytes:
        return bytes(zopfli.zlib.compress(bytes(self._data), numiterations=1)[2:-4])  # without zlib's header and sum


def add_file(source: zipfile.ZipFile, target: Path, name: str, data: bytes) -> None:
    """Writes `source` again with one more file, which the RECORD then lists."""
    record = f"{dist_info(source)}/RECORD"
    rows = [r for r in csv.reader(io.StringIO(source.read(record).decode())) if r and r[0] not in (name, record)]
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    rows += [[name, f"sha256={digest}", str(len(data))], [record, "", ""]]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows[:-1]) + rows[-1:])
    listed = source.getinfo(record)
    with patch("zipfile._get_compressor", lambda *_kind: Zopfli()), zipfile.ZipFile(target, "w") as out:
        for info in source.infolist():
            if info.filename not in (name, record):
                out.writestr(info, source.read(info), zipfile.ZIP_DEFLATED)
        for path, content in ((name, data), (record, text.getvalue().encode())):
            info = zipfile.ZipInfo(path, listed.date_time)
            info.external_attr = listed.external_attr
            out.writestr(info, content, zipfile.ZIP_DEFLATED)


def main() -> None:
    """Writes the wheel with its SBOM, and the SBOM, into the given folder; exits with the reason if it is not valid."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for the wheel with its SBOM, and for the SBOM")
    parser.add_argument("--compiler", required=True, help="version of the GCC that compiled it")
    parser.add_argument("--pybind11", required=True, help="version of pybind11 that was compiled in")
    given = parser.parse_args()
    with zipfile.ZipFile(given.wheel) as source:
        document = make_sbom(source, name=given.wheel.name, compiler=given.compiler, pybind11=given.pybind11)
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
        if problem is not None:
            sys.exit(f"the SBOM is not CycloneDX 1.6: {problem}")
        name = f"{dist_info(source)}/sboms/facesdk-unlock.cdx.json"
        add_file(source, given.out / given.wheel.name, name, text.encode())
    (given.out / f"{given.wheel.stem}.cdx.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
