"""Writes the CycloneDX 1.6 SBOM of a source distribution or of a Debian package beside it: tools/release.sh calls this.

python tools/artifact_sbom.py FILE...

A source distribution: its models, its portraits, what it asks for when it is built and when it runs. A Debian package:
what the SBOM in its facesdk wheel lists, the wheels it was made of with their SHA-256 and the places of their own
SBOMs, and what it depends on. A wheel has its own, made by tools/sbom.py. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from email.parser import Parser
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

sys.path.insert(0, str(Path(__file__).parent))
import sbom

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Json = dict[str, Any]
Files = dict[str, bytes]


def files_of(archive: tarfile.TarFile, wanted: Callable[[str], bool]) -> Files:
    """The files of an archive whose names are wanted, by their names without a leading "./"."""
    found: Files = {}
    for member in archive:
        name = member.name.removeprefix("./")
        data = archive.extractfile(member) if member.isfile() and wanted(name) else None
        if data is not None:
            found[name] = data.read()
    return found


def _package(name: str, version: str, summary: str, licence: str) -> Json:
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "description": summary,
        "licenses": [{"expression": licence, "acknowledgement": "declared"}],
    }  # fmt: skip


def _needed(kind: str, lines: list[str], scope: str = "required") -> list[Json]:
    return [
        {
            "type": "library", "bom-ref": f"{kind}:{number}", "name": line, "scope": scope,
            "properties": [{"name": f"facesdk:{kind}", "value": line}],
        }
        for number, line in enumerate(lines)
    ]  # fmt: skip


class Source:
    """An unpacked source distribution, read as sbom.py reads a wheel, where models lie elsewhere."""

    def __init__(self, files: Files) -> None:
        self._files = {name.replace("models/", sbom.MODELS, 1) if name.startswith("models/") else name: data
                       for name, data in files.items()}  # fmt: skip

    def namelist(self) -> list[str]:
        """All names."""
        return list(self._files)

    def read(self, name: str) -> bytes:
        """What is in a file."""
        return self._files[name]


def sdist_sbom(path: Path) -> tuple[Json, list[Json]]:
    """The component and its parts."""
    with tarfile.open(path) as archive:
        top = path.name.removesuffix(".tar.gz") + "/"
        files = {name.removeprefix(top): data for name, data in files_of(archive, lambda _name: True).items()}
    metadata = Parser().parsestr(files["PKG-INFO"].decode())
    project = tomllib.loads(files["pyproject.toml"].decode())
    source: Any = Source(files)
    component = _package(metadata["Name"], metadata["Version"], metadata["Summary"], metadata["License-Expression"])
    building = _needed("build-requires", project["build-system"]["requires"], "excluded")
    parts = [*sbom.model_components(source), *sbom.portrait_components(source), *building]
    return component, [*parts, *sbom.requirements(metadata)]


def deb_sbom(path: Path) -> tuple[Json, list[Json]]:
    """The component and its parts. ValueError if a bundled wheel is not the one whose files are there."""
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], check=True, capture_output=True).stdout
    wanted = re.compile(r"\.dist-info/METADATA$|\.dist-info/sboms/[^/]+$|/wheels\.sha256$")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = files_of(archive, lambda name: wanted.search(name) is not None)
    fields = subprocess.run(["dpkg-deb", "-f", path], check=True, capture_output=True, text=True).stdout
    control = Parser().parsestr(fields)
    sums = next(data for name, data in files.items() if name.endswith("/wheels.sha256")).decode()
    rows = [line.split() for line in sums.splitlines()]
    wheels = {tuple(name.split("-")[:2]): (digest, name) for digest, name in rows}
    parts = []
    for name in sorted(name for name in files if name.endswith("/METADATA")):
        folder = name.removesuffix("/METADATA")
        metadata = Parser().parsestr(files[name].decode())
        digest, wheel = wheels.pop(tuple(folder.split("/")[-1].removesuffix(".dist-info").split("-")))
        licence = metadata["License-Expression"] or metadata["License"]
        part = _package(metadata["Name"], metadata["Version"], metadata["Summary"], licence)
        part["hashes"] = [{"alg": "SHA-256", "content": digest}]
        inside = sorted(other for other in files if other.startswith(f"{folder}/sboms/"))
        part["properties"] = [{"name": "facesdk:wheel", "value": wheel}]
        part["properties"] += [{"name": "facesdk:sbom", "value": f"/{other}"} for other in inside]
        if metadata["Name"] == "facesdk-unlock":
            listed = json.loads(files[inside[0]])["components"]
            part["components"] = [c for c in listed if not c["bom-ref"].startswith("requires:")]
        parts.append(part)
    if wheels:
        raise ValueError(f"{path.name} names wheels that are not in it: {sorted(wheels)}")
    version, architecture = control["Version"], control["Architecture"]
    purl = f"pkg:deb/{control['Package']}@{version}?arch={architecture}"
    component = {
        "type": "application", "bom-ref": purl, "name": control["Package"], "version": version, "purl": purl,
        "description": control["Description"].splitlines()[0],
    }  # fmt: skip
    return component, parts + _needed("depends", [line.strip() for line in control["Depends"].split(",")])


def document_of(path: Path) -> str:
    """The SBOM's text. ValueError for a file of another kind, or if it does not hold the schema."""
    if not path.name.endswith((".tar.gz", ".deb")):
        raise ValueError(f"{path.name} is neither a source distribution nor a Debian package")
    component, parts = deb_sbom(path) if path.suffix == ".deb" else sdist_sbom(path)
    component["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]
    component["properties"] = [{"name": "facesdk:file", "value": path.name}]
    moment = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "315532800")), timezone.utc)
    document: Json = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {"timestamp": moment.isoformat(), "component": component},
        "components": parts,
        "dependencies": [{"ref": component["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]}],
    }  # fmt: skip
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise ValueError(f"the SBOM of {path.name} is not CycloneDX 1.6: {problem}")
    return text


def main() -> None:
    """Writes FILE's SBOM as FILE.cdx.json, without FILE's ending; exits with the reason if it cannot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", type=Path, nargs="+")
    for path in parser.parse_args().files:
        try:
            text = document_of(path)
        except ValueError as error:
            sys.exit(f"artifact_sbom.py: {error}")
        stem = path.name.removesuffix(".tar.gz").removesuffix(".deb")
        (path.parent / f"{stem}.cdx.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
