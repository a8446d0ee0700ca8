#!/usr/bin/env bash
# build_wheels.sh [--python 3.10,3.11,3.12,3.13,3.14] [--arch x86_64,aarch64] [--out DIR] [--no-demo]
#
# Makes manylinux wheels from the source distribution of this checkout, for CPython on x86-64 and 64-bit ARM, on one
# Linux machine: another architecture's wheels are made with Debian's cross compiler. Each wheel is checked
# (architecture, libraries, hardening, auditwheel, size, SBOM), and those for this machine are installed into a clean
# environment where the demo runs. Names what it skipped and why. Defaults: all of these, into dist/. docs/wheels.md.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
pythons=3.10,3.11,3.12,3.13,3.14 archs=x86_64,aarch64 out=$root/dist demo=1
while [ $# -gt 0 ]; do
  case $1 in
    --python) pythons=${2:?}; shift 2 ;;
    --arch) archs=${2:?}; shift 2 ;;
    --out) out=${2:?}; shift 2 ;;
    --no-demo) demo=; shift ;;
    *) sed -n '2,7p' "$0" >&2; exit 2 ;;
  esac
done
MAX_GLIBC=36  # that of Debian 12 and Raspberry Pi OS bookworm
MAX_BYTES=$((22 * 1000 * 1000))  # with the networks for distant faces and for eyes

mkdir -p "$out"; out=$(cd "$out" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore LC_ALL=C
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 315532800)}
export SOURCE_DATE_EPOCH
umask 022
auditwheel() { PATH=$work/tools/bin:$PATH command auditwheel "$@"; }
say() { printf '[wheels %4ds] %s\n' "$SECONDS" "$*"; }
die() { printf 'build_wheels.sh: %s\n' "$*" >&2; exit 1; }
run_pip() { "$@" >"$work/pip.log" 2>&1 || { tail -20 "$work/pip.log" >&2; die "fails: pip ${*:2}"; }; }
skip() { printf 'SKIPPED: %s\n' "$*"; }

# Prints the CPython of a version that runs and has its headers, from PATH, pyenv or tools/debian_python.sh.
find_python() {
  local candidate
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python \
    "$root/.cache/pythons/$1/usr/bin/python$1"; do
    "$candidate" - "$1" 2>/dev/null <<'CHECK' && return
import os, sys, sysconfig
header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
ok = "%d.%d" % sys.version_info[:2] == sys.argv[1] and sys.implementation.name == "cpython" and os.path.exists(header)
print(sys.executable if ok else "", end="")
sys.exit(not ok)
CHECK
  done
  return 1
}

# The source distribution, in the same bytes each time, built in an environment of its own. From a copy: setuptools would
# take files along that an older egg-info lists.
make_sdist() {
  python3 -m venv "$work/tools"
  run_pip "$work/tools/bin/pip" install -q -r "$root/tools/wheel_requirements.txt"
  mkdir "$work/checkout"
  tar -C "$root" --exclude='./.*' --exclude=./build --exclude=./dist --exclude='*.egg-info' --exclude='*.so' -cf - . \
    | tar -C "$work/checkout" -xf -
  "$work/tools/bin/python" -m build -q --sdist --no-isolation -x --outdir "$work/sdist" "$work/checkout" >"$work/sdist.log" 2>&1 \
    || { tail -20 "$work/sdist.log" >&2; die "no source distribution"; }
  local packed; packed=$(echo "$work"/sdist/*.tar.gz)
  mkdir "$work/source"; tar -xzf "$packed" -C "$work/source"
  local name; name=$(basename "$packed")
  tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$work/source" -cf - \
    "${name%.tar.gz}" | gzip -n9 > "$out/$name"
  source=$work/source/${name%.tar.gz}
}

# Sets what setuptools needs to compile for an architecture; returns 1 where there is no compiler for it.
compiler_for() {
  local prefix=; [ "$1" = "$(uname -m)" ] || prefix=$1-linux-gnu-
  command -v "${prefix}g++" >/dev/null || return 1
  # Named in full: an interpreter remembers the folders and run paths of its own build.
  export CC="${prefix}gcc" CXX="${prefix}g++" LDSHARED="${prefix}gcc -shared" LDCXXSHARED="${prefix}g++ -shared"
  export CFLAGS="-g0" LDFLAGS="-Wl,--strip-all"
  readelf=${prefix}readelf
}

# Unpacks LiteRT's wheel for an architecture, of the version and hash in tools/litert.txt.
fetch_litert() {
  export FACESDK_LITERT=$work/litert-$1
  [ ! -d "$FACESDK_LITERT" ] || return 0
  run_pip "$work/tools/bin/pip" download -q --no-deps --require-hashes --only-binary :all: --python-version 3.11 \
    --platform "manylinux_2_27_$1" --dest "$FACESDK_LITERT" -r "$root/tools/litert.txt"
  "$work/tools/bin/python" -m zipfile -e "$FACESDK_LITERT"/*.whl "$FACESDK_LITERT"
}

# Which machine the libraries of a wheel are for, and what they may need of the system.
check_libraries() {
  local extension library needed
  mkdir "$work/unpacked"; (cd "$work/unpacked" && "$work/tools/bin/python" -m zipfile -e "$1" .)
  extension=$(echo "$work"/unpacked/facesdk/_core.*.so)
  [ "$(basename "$extension")" = "_core$3" ] || die "the extension is named $(basename "$extension"), not _core$3"
  for library in "$extension" "$work/unpacked/facesdk/_litert/libLiteRt.so"; do
    "$readelf" -h "$library" | grep -q "Machine:.*${2/x86_64/X86-64}" -i || die "$library is not for $2"
    needed=$("$readelf" -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort | tr '\n' ' ')
    [ -z "$(echo "$needed" | tr ' ' '\n' | grep -vE '^(lib(stdc\+\+|m|c)\.so\.6|lib(dl|pthread)\.so\.[02]|lib(gcc_s|rt)\.so\.1|ld-linux-.*|)$')" ] \
      || die "$library needs $needed"
    ! "$readelf" -d "$library" | grep -qE 'RPATH|RUNPATH' || die "$library has a run path"
    say "  $(basename "$library") needs ${needed}"
  done
  "$work/tools/bin/python" "$root/tools/check_hardening.py" "$extension" || die "$extension is not built as it must be"
  rm -rf "$work/unpacked"
}

# One wheel: interpreter, version, architecture.
make_wheel() {
  local python=$1 version=$2 arch=$3 suffix build=$work/build-$2
  suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
  suffix=${suffix/$(uname -m)/$arch}
  if [ ! -d "$build" ]; then
    "$python" -m venv "$build"
    grep -E '^(build|setuptools|pybind11|tomli)==' "$root/tools/wheel_requirements.txt" > "$work/requirements"
    run_pip "$build/bin/pip" install -q -r "$work/requirements"
  fi
  rm -rf "$work/tree" "$work/linux" "$work/repaired"; cp -a "$source" "$work/tree"
  fetch_litert "$arch"
  (cd "$work/tree" && SETUPTOOLS_EXT_SUFFIX=$suffix "$build/bin/python" -m build -q --wheel --no-isolation -x \
    -C--build-option=--plat-name="linux_$arch" --outdir "$work/linux" .) >"$work/build.log" 2>&1 \
    || { tail -30 "$work/build.log" >&2; die "CPython $version for $arch does not build"; }
  check_libraries "$(echo "$work"/linux/*.whl)" "$arch" "$suffix"
  auditwheel repair -z 9 --wheel-dir "$work/repaired" "$work"/linux/*.whl >"$work/repair.log" 2>&1 \
    || { tail -20 "$work/repair.log" >&2; die "auditwheel cannot repair the $arch wheel"; }
  wheel=$out/$(basename "$work"/repaired/*.whl)
  "$work/tools/bin/python" "$root/tools/finish_wheel.py" "$work"/repaired/*.whl --out "$out" \
    || die "$(basename "$wheel"): its SBOM is not as it must be"
  auditwheel show "$wheel" > "$work/show.log"
  glibc=$(grep -o "manylinux_2_[0-9]*_$arch" "$work/show.log" | head -1 | cut -d_ -f3)
  [ "${glibc:-99}" -le $MAX_GLIBC ] && [[ $wheel == *manylinux_2_"$glibc"_"$arch".whl ]] \
    || die "$(basename "$wheel"): $(cat "$work/show.log")"
  [ "$(stat -c %s "$wheel")" -le $MAX_BYTES ] || die "$wheel has more than $MAX_BYTES bytes"
  say "  $(basename "$wheel"): $(stat -c %s "$wheel") bytes, sha256 $(sha256sum "$wheel" | cut -c1-16)..."
}

# The wheel alone in a clean environment, away from the sources.
run_demo() {
  rm -rf "$work/clean"; "$1" -m venv "$work/clean"
  run_pip "$work/clean/bin/pip" install -q "$wheel"
  (cd "$work" && env -u PYTHONPATH "$work/clean/bin/facesdk" demo --no-picture >"$work/demo.log" 2>&1) \
    || { cat "$work/demo.log" >&2; die "the demo fails in a clean environment"; }
  say "  clean environment: $(tail -1 "$work/demo.log")"
}

make_sdist
say "source distribution: $(ls "$out"/*.tar.gz)"
made=0
for version in ${pythons//,/ }; do
  python=$(find_python "$version") || { skip "CPython $version: no interpreter with headers on PATH or in pyenv; tools/debian_python.sh $version may get one"; continue; }
  for arch in ${archs//,/ }; do
    compiler_for "$arch" || { skip "$arch: no $arch-linux-gnu-g++ (Debian: g++-${arch/_/-}-linux-gnu)"; continue; }
    say "CPython $version for $arch, by $python and $CXX"
    make_wheel "$python" "$version" "$arch"; made=$((made + 1))
    if [ -z "$demo" ]; then skip "demo (--no-demo)"
    elif [ "$arch" = "$(uname -m)" ]; then run_demo "$python"
    else skip "demo of the $arch wheel on $(uname -m): tools/arm64_suite.sh runs it emulated"; fi
  done
done
[ $made -gt 0 ] || die "no wheel was made"
say "$made wheels in $out"
