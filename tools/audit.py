"""Known vulnerabilities in what pyproject.toml allows; tools/audit.sh says how to call it, and the exit codes.

uv resolves the core and each extra twice, to the lowest versions of our own ranges and to the newest of all; pip-audit
asks PyPI's advisories about every version found, or OSV's if PyPI's do not answer. Packages that an index does not know
count as not asked, and so does a database without the advisories of CANARY: a mirror may answer without any.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomllib

ROOT = Path(__file__).resolve().parent.parent
NONE, FOUND, UNRESOLVED, NOT_ASKED = 0, 1, 2, 75
CANARY = ("jinja2", "3.1.2")  # CVE-2024-22195 and others
# The CPythons to resolve for: the oldest that we support and a new one; older where an extra has no wheels for that.
LOWEST, NEWEST = "3.10", "3.13"
NEWEST_OF = {"mediapipe": "3.11", "tflite-runtime": "3.11"}

Package = tuple[str, str]  # name and version


class NotAskedError(Exception):
    """No answer to be relied on."""


def resolve(extra: str, *, lowest: bool) -> list[Package]:
    """The versions that would be installed. An empty extra is the core. ValueError if there are none."""
    python = LOWEST if lowest else NEWEST_OF.get(extra, NEWEST)
    command = [sys.executable, "-m", "uv", "pip", "compile", "-q", "pyproject.toml", "--no-annotate", "--no-header"]
    command += ["--python-version", python, "--resolution", "lowest-direct" if lowest else "highest"]
    command += ["--extra", extra] if extra else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(f"extra {extra or '(none)'} for CPython {python}: {done.stderr.strip()}")
    pinned = (line.split(";")[0].strip() for line in done.stdout.splitlines() if "==" in line)
    return [(name, version) for name, _, version in (line.partition("==") for line in pinned)]


def layers(packages: Iterable[Package]) -> list[list[Package]]:
    """The packages in as few lists as can be with no name twice in one: a requirements file takes one version each."""
    result: list[dict[str, str]] = []
    for name, version in sorted(packages):
        free = next((layer for layer in result if name not in layer), None)
        if free is None:
            result.append(free := {})
        free[name] = version
    return [list(layer.items()) for layer in result]


def advisories(packages: list[Package], service: str) -> dict[Package, list[dict[str, Any]]]:
    """What a database knows about each of these. NotAskedError if it does not answer, or not about all."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{name}=={version}\n" for name, version in packages))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "-r", file.name, "--no-deps", "--disable-pip", "-s", service]
        command += ["-f", "json", "--progress-spinner", "off"]
        done = subprocess.run(command, capture_output=True, text=True)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise NotAskedError(f"{service}: pip-audit ends with {done.returncode}: {last[:300]}") from None
    skipped = [d for d in dependencies if "skip_reason" in d]
    if skipped:
        raise NotAskedError(f"{service}: {len(skipped)} not looked up, the first: {skipped[0]['skip_reason']}")
    if len(dependencies) != len(packages):
        raise NotAskedError(f"{service}: {len(packages)} packages were asked about, {len(dependencies)} answered")
    return {(d["name"], d["version"]): d["vulns"] for d in dependencies}


def choose_service() -> str:
    """The first database that knows the canary's advisories. NotAskedError with each one's reason."""
    reasons = []
    for service in ("pypi", "osv"):
        try:
            if any(advisories([CANARY], service).values()):
                return service
            reasons.append(f"{service}: knows nothing against {'=='.join(CANARY)}, which has known vulnerabilities")
        except NotAskedError as error:
            reasons.append(str(error))
    raise NotAskedError("; ".join(reasons))


def read_ignored() -> dict[tuple[str, str], str]:
    """Reasons by package and advisory. ValueError for an entry without one."""
    entries = tomllib.loads((ROOT / "tools" / "audit_ignored.toml").read_text(encoding="utf-8")).get("ignored", [])
    for entry in entries:
        if set(entry) != {"id", "package", "reason"} or len(entry["reason"].split()) < 4:
            raise ValueError(f"audit_ignored.toml: id, package and a reason in words were expected, got {entry}")
    return {(e["package"], e["id"]): e["reason"] for e in entries}


def report(wanted: dict[Package, list[str]], service: str) -> int:
    """Prints what is known against the packages; exit code."""
    known: dict[Package, list[dict[str, Any]]] = {}
    for layer in layers(wanted):
        known |= advisories(layer, service)
    ignored, used, found = read_ignored(), set(), 0
    for package, vulnerabilities in sorted(known.items()):
        for one in vulnerabilities:
            keys = {(package[0], name) for name in (one["id"], *one["aliases"])} & set(ignored)
            used |= keys
            found += not keys
            fixed = ", ".join(one["fix_versions"]) or "no version"
            what = f"{'=='.join(package)}: {one['id']} {' '.join(one['aliases'])}, closed by {fixed}"
            print(f"{what}; in {', '.join(wanted[package])}" + (" (ignored, with a reason)" if keys else ""))
    for name, advisory in sorted(set(ignored) - used):
        print(f"audit_ignored.toml: {advisory} no longer concerns any version of {name}: remove it")
    print(f"{len(wanted)} versions asked about ({service}): {found} known vulnerabilities")
    return FOUND if found or set(ignored) - used else NONE


def main() -> int:
    """Exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted: dict[Package, list[str]] = defaultdict(list)
    try:
        service = choose_service()
        for extra in ("", *project["optional-dependencies"]):
            for lowest in (True, False):
                for package in resolve(extra, lowest=lowest):
                    wanted[package].append(f"{extra or 'core'} {'lowest' if lowest else 'newest'}")
        return report(wanted, service)
    except ValueError as error:
        print(f"audit: {error}", file=sys.stderr)
        return UNRESOLVED
    except NotAskedError as error:
        print("NOT AUDITED: no advisory database could be asked, so nothing is known about any version")
        print(f"NOT AUDITED: {error}")
        return NOT_ASKED


if __name__ == "__main__":
    sys.exit(main())
