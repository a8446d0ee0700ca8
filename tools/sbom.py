"""Makes the CycloneDX 1.6 SBOM of a wheel; setup.py writes it into the .dist-info/sboms (PEP 770) of every wheel.

What is in the wheel (our code, LiteRT's library, pybind11's headers, the compiler's library code, models and portraits)
and what it asks for at run time. The models' sizes and hashes are those of the wheel's own manifest, or nothing is
written. The same input gives the same bytes. Only the standard library: it runs wherever a wheel is built.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import uuid
from datetime import datetime, timezone
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "facesdk-unlock.cdx.json"
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


def _hash_of(file: Path) -> list[Json]:
    return [{"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}]


def _licence(expression: str) -> list[Json]:
    return [{"expression": expression, "acknowledgement": "declared"}]


def _properties(**values: object) -> list[Json]:
    return [{"name": f"facesdk:{name}", "value": str(value)} for name, value in values.items()]


def model_components(wheel: Path) -> list[Json]:
    """The models of the wheel's manifest. ValueError if a file differs from it or is not in it."""
    manifest = tomllib.loads((wheel / MODELS / "manifest.toml").read_text(encoding="utf-8"))
    files = {file.relative_to(wheel).as_posix() for file in (wheel / MODELS).rglob("*.tflite")}
    result = []
    for name, entry in manifest["models"].items():
        path = MODELS + entry["file"]
        hashes = _hash_of(wheel / path)
        if (wheel / path).stat().st_size != entry["size"] or hashes[0]["content"] != entry["sha256"]:
            raise ValueError(f"{path} is not the file that the manifest names")
        files.remove(path)
        result.append({
            "type": "machine-learning-model", "bom-ref": f"model:{name}", "name": name, "version": entry["version"],
            "description": entry["description"], "hashes": hashes, "licenses": _licence(entry["licence"]),
            "properties": _properties(path=path, origin=entry["origin"], origin_sha256=entry["origin_sha256"]),
        })  # fmt: skip
    if files:
        raise ValueError(f"not in the manifest: {', '.join(sorted(files))}")
    return result


def portrait_components(wheel: Path) -> list[Json]:
    """The portraits, whose licences stand in the CREDITS.md beside them."""
    files = (file for file in (wheel / PORTRAITS).iterdir() if file.suffix in (".jpg", ".png"))
    names = sorted(file.relative_to(wheel).as_posix() for file in files)
    return [
        {
            "type": "data", "bom-ref": f"portrait:{Path(name).stem}", "name": Path(name).name,
            "hashes": _hash_of(wheel / name), "properties": _properties(path=name, licence=f"{PORTRAITS}CREDITS.md"),
        }
        for name in names
    ]  # fmt: skip


def pybind11_component(version: str) -> Json:
    """The headers that are compiled into the extension module."""
    purl = f"pkg:pypi/pybind11@{version}"
    return {
        "type": "library", "bom-ref": purl, "name": "pybind11", "version": version, "purl": purl,
        "description": "headers compiled into facesdk._core", "licenses": _licence("BSD-3-Clause"),
    }  # fmt: skip


def compiler_component(says: str) -> Json:
    """What of the compiler is in the extension module, by the first line of its --version.

    libstdc++.so.6 itself is the system's.
    """
    name = "clang" if "clang" in says.lower() else "gcc"
    # Not the distribution's own number, which goes on after a dash.
    found = re.search(r"\d+\.\d+\.\d+(?![\w.-])", says)
    version = found.group() if found else "unknown"
    what = {
        "gcc": "libstdc++ templates, libgcc helpers and start files",
        "clang": "templates of the C++ library in use",
    }
    licence = {"gcc": GCC_LICENCE, "clang": "Apache-2.0 WITH LLVM-exception"}
    return {
        "type": "library", "bom-ref": f"{name}@{version}", "name": name, "version": version,
        "description": f"{what[name]} compiled into facesdk._core", "licenses": _licence(licence[name]),
    }  # fmt: skip


def litert_component(wheel: Path) -> Json:
    """LiteRT's library, as it is in the wheel of ai-edge-litert, with its known parts."""
    path, version = f"{LITERT}libLiteRt.so", (wheel / LITERT / "VERSION").read_text(encoding="ascii").strip()
    purl = f"pkg:pypi/ai-edge-litert@{version}"
    return {
        "type": "library", "bom-ref": purl, "name": "ai-edge-litert", "version": version, "purl": purl,
        "description": "LiteRT's C library, taken unchanged from its wheel", "hashes": _hash_of(wheel / path),
        "licenses": _licence("Apache-2.0"), "properties": _properties(path=path),
        "components": [
            {"type": "library", "bom-ref": f"litert:{name}", "name": name, "licenses": _licence(licence)}
            for name, licence in LITERT_PARTS.items()
        ],
    }  # fmt: skip


def requirements(metadata: Message) -> list[Json]:
    """What the wheel asks for at run time; not in the wheel. Optional are those of an extra."""
    result: list[Json] = []
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


def make_sbom(dist_info: Path, *, compiler: str, pybind11: str) -> Json:
    """The document of the wheel that is unpacked around its .dist-info; its serial number is made of its content."""
    wheel = dist_info.parent
    metadata = Parser().parsestr((dist_info / "METADATA").read_text(encoding="utf-8"))
    package, version = metadata["Name"], metadata["Version"]
    purl = f"pkg:pypi/{package}@{version}"
    parts = [litert_component(wheel)] if (wheel / LITERT).is_dir() else []  # it is made for two machines only
    parts += [
        pybind11_component(pybind11),
        compiler_component(compiler),
        *model_components(wheel),
        *portrait_components(wheel),
    ]
    needed = requirements(metadata)
    document: Json = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "component": {
                "type": "library", "bom-ref": purl, "name": package, "version": version, "purl": purl,
                "description": metadata["Summary"], "licenses": _licence(metadata["License-Expression"]),
                "properties": _properties(requires_python=metadata["Requires-Python"]),
            },
        },
        "components": parts + needed,
        "dependencies": [{"ref": purl, "dependsOn": [c["bom-ref"] for c in parts + needed]}],
    }  # fmt: skip
    # Without one given the time is left out: the bytes would differ from build to build.
    if "SOURCE_DATE_EPOCH" in os.environ:
        moment = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
        document["metadata"]["timestamp"] = moment.isoformat()
    content = json.dumps(document, sort_keys=True)
    return {**document, "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"}


def write(dist_info: Path, *, compiler: str, pybind11: str) -> None:
    """Writes the SBOM of a wheel that is about to be packed. compiler: the first line of its --version."""
    document = make_sbom(dist_info, compiler=compiler, pybind11=pybind11)
    (dist_info / "sboms").mkdir()
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    (dist_info / "sboms" / NAME).write_text(text, encoding="utf-8")
