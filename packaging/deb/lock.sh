#!/usr/bin/env bash
# packaging/deb/lock.sh
#
# Writes requirements-SUITE.txt anew: the newest wheels that facesdk and what it needs ask for, with their SHA-256 for amd64
# and arm64. Run it when a bundled package has a security fix, then build with tools/build_deb.sh --revision N.
# Needs PyPI, and pip under CPython 3.11 or newer, because pip reads "python_version < '3.11'" as its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=packaging/deb/suite.sh
. "$here/suite.sh"
# PyPI alone, so that no mirror of one machine with fewer files decides.
export PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS='' PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lock.sh: python3 must be 3.11 or newer" >&2; exit 1; }
mapfile -t wanted < <(python3 - "$here/../../pyproject.toml" <<'WANTED'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    print(*[r for r in tomllib.load(file)["project"]["dependencies"] if "python_version < '3.11'" not in r], sep="\n")
WANTED
)
for python in 3.11 3.13; do
  suite_of_python "$python"
  for machine in x86_64 aarch64; do
    platform_tags "$machine" "$glibc"
    python3 -m pip download -q --python-version "$python" "${tags[@]}" --dest "$work/$suite" "${wanted[@]}"
  done
  python3 - "$work/$suite" "$suite" "$python" > "$work/lock" <<'LOCK'
import hashlib, sys
from collections import defaultdict
from pathlib import Path
folder, suite, python = sys.argv[1:]
hashes = defaultdict(set)
for wheel in Path(folder).glob("*.whl"):
    name, version = wheel.name.split("-")[:2]
    hashes[name.lower().replace("_", "-"), version].add(hashlib.sha256(wheel.read_bytes()).hexdigest())
if len({name for name, _ in hashes}) != len(hashes):
    sys.exit(f"amd64 and arm64 would have different versions: {sorted(hashes)}")
print(f"# What facesdk's package for {suite} (CPython {python}) carries: amd64, arm64. Written by packaging/deb/lock.sh.")
for (name, version), found in sorted(hashes.items()):
    print(f"{name}=={version}", *(f"    --hash=sha256:{digest}" for digest in sorted(found)), sep=" \\\n")
LOCK
  mv "$work/lock" "$here/requirements-$suite.txt"
  grep '==' "$here/requirements-$suite.txt"
done
