#!/usr/bin/env bash
# debian_python.sh VERSION [FOLDER]
#
# A CPython that neither this system nor pyenv has (3.14), with its headers, from the packages of a newer Debian, whose
# signatures apt checks. It lies in FOLDER/VERSION with the libraries it needs, C library included, and runs by the loader
# among these; nothing of the system or its apt configuration changes, and the compiler stays the system's. The default
# FOLDER, .cache/pythons, is where build_wheels.sh looks. Prints the interpreter's path. x86-64, half a minute, 140 MB.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
[[ ${1-} =~ ^3\.[0-9]+$ ]] || { sed -n '2,7p' "$0" >&2; exit 2; }
version=$1 folder=${2:-$root/.cache/pythons}
mkdir -p "$folder"; folder=$(cd "$folder" && pwd)
die() { printf 'debian_python.sh: %s\n' "$*" >&2; exit 1; }
python=$folder/$version/usr/bin/python$version
if [ -d "$folder/$version" ]; then echo "$python"; exit 0; fi
[ "$(uname -m)" = x86_64 ] || die "the headers for both architectures are taken from x86-64"

work=$(mktemp -d "$folder/.making.XXXX"); trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/{lists,cache/archives}/partial "$work/made"; : > "$work/apt/status"
# shellcheck disable=SC2016  # apt's own variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | grep -v -- -security | sort -u | head -1)
[ -n "$mirror" ] || die "no Debian source in this host's apt configuration"
cat > "$work/apt/conf" <<APT
Dir::State::lists "$work/apt/lists";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Debug::NoLocking "true";
APT
export APT_CONFIG=$work/apt/conf
found=
for suite in stable testing unstable; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$work/apt/sources.list"
  apt-get -qq update || die "no answer from the mirror about Debian $suite"
  # Dependencies too: the package list of an empty system.
  if apt-get -qq install -y --download-only "python$version-venv" "libpython$version-dev" libstdc++6 > "$work/log" 2>&1; then
    found=$suite; break
  fi
done
[ -n "$found" ] || { tail -3 "$work/log" >&2; die "no Debian has CPython $version, or its packages cannot be had"; }

for package in "$work"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$work/made"; done
made=$work/made libraries=usr/lib/x86_64-linux-gnu
# Debian's pyconfig.h names the one of the machine, which a compiler looks for in the system's own folders.
cp --remove-destination "$made/usr/include/x86_64-linux-gnu/python$version/pyconfig.h" "$made/usr/include/python$version/pyconfig.h"
# pip for new environments is beside it, not in the system's folder.
sed -i -E "s#('WHEEL_PKG_DIR': ')#\1$folder/$version#; s#(\"WHEEL_PKG_DIR\": \")#\1$folder/$version#" \
  "$made/usr/lib/python$version"/_sysconfig*
mv "$made/usr/bin/python$version" "$made/$libraries/python$version"
# Under the name that it was called by: an environment's python is a link to this.
cat > "$made/usr/bin/python$version" <<WRAPPER
#!/bin/sh
lib='$folder/$version/$libraries'
exec "\$lib/ld-linux-x86-64.so.2" --library-path "\$lib" --argv0 "\$0" "\$lib/python$version" "\$@"
WRAPPER
chmod 755 "$made/usr/bin/python$version" "$made"
mv "$made" "$folder/$version"
"$python" -c 'import ctypes, ssl, zlib, ensurepip, sys; print("CPython", sys.version.split()[0], "of Debian", sys.argv[1], file=sys.stderr)' "$found"
echo "$python"
