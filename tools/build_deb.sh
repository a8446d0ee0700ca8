#!/usr/bin/env bash
# build_deb.sh [--out DIR] [--revision N] WHEEL...
#
# Makes a Debian package of each wheel that tools/build_wheels.sh made: CPython 3.11 for Debian 12 (bookworm), 3.13 for 13
# (trixie), amd64 or arm64 as the wheel is. Nothing is run that is in the package, so arm64's needs no emulation.
#   --out DIR      where the packages go; default: dist/
#   --revision N   +deb12uN instead of +deb12: the same facesdk with newer wheels of others (packaging/deb/lock.sh)
# Maintainer is DEBFULLNAME <DEBEMAIL>. Needs dpkg-deb, readelf, pip under CPython 3.11 or newer, and PyPI for the wheels that
# packaging/deb/requirements-SUITE.txt names by their hashes. lintian looks at the result where it is installed.
# packaging/deb/README.md says what is where in the package and why.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
deb=$root/packaging/deb
# shellcheck source=packaging/deb/suite.sh
. "$deb/suite.sh"
out=$root/dist revision='' wheels=()
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=${2:?}; shift 2 ;;
    --revision) revision=u${2:?}; shift 2 ;;
    -*) sed -n '2,10p' "$0" >&2; exit 2 ;;
    *) wheels+=("$(readlink -e "$1")"); shift ;;
  esac
done
[ ${#wheels[@]} -gt 0 ] || { sed -n '2,10p' "$0" >&2; exit 2; }
mkdir -p "$out"; out=$(cd "$out" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore LC_ALL=C TZ=UTC
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 315532800)}
export SOURCE_DATE_EPOCH
umask 022
say() { printf '[deb %4ds] %s\n' "$SECONDS" "$*"; }
die() { printf 'build_deb.sh: %s\n' "$*" >&2; exit 1; }
quietly() { "$@" >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; die "fails: $*"; }; }
HOME_IN=usr/lib/facesdk  # under /usr, so that services with ProtectSystem= cannot write it; /opt they can
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "python3 must be 3.11 or newer: pip takes markers for its own"

# Unpacks the wheel and those it needs into an environment of the target's Python. pip resolves with nothing but the wheels
# of the lock file: one that is missing, too old or for another machine ends this. It would hold Requires-Python against the
# Python it runs under; the one meant was asked for when the lock file was made.
install_wheels() {
  local wheel=$1 listed
  platform_tags "$machine" "$glibc"
  rm -rf "$work/wheels"
  quietly python3 -m pip download -q --no-deps --require-hashes --python-version "$python" "${tags[@]}" \
    --dest "$work/wheels" -r "$deb/requirements-$suite.txt"
  quietly python3 -m pip --isolated install -q --no-index --find-links "$work/wheels" --python-version "$python" "${tags[@]}" \
    --ignore-requires-python --no-compile --no-warn-script-location --no-warn-conflicts --target "$site" "$wheel"
  listed=$(grep -c == "$deb/requirements-$suite.txt")
  [ "$(find "$site" -maxdepth 1 -name '*.dist-info' | wc -l)" = $((listed + 1)) ] \
    || die "requirements-$suite.txt names what facesdk does not need: run packaging/deb/lock.sh"
  info=$(echo "$site"/facesdk_unlock-*.dist-info)
}

# Leaves out what only pip, the wheels' own tests or a compiler would read. dpkg knows the files, and pip, finding no RECORD,
# keeps its hands off them.
prune() {
  mkdir "$work/data"
  [ ! -d "$site/share" ] || mv "$site/share" "$work/data/share"
  rm -rf "${site:?}/bin"
  rm -f "$site"/*.dist-info/{RECORD,INSTALLER,REQUESTED,direct_url.json}
  find "$site/numpy" -depth \( -type d -name tests -o -name '*.a' \) -exec rm -rf {} +
}

# The environment's own files, as `python3 -m venv` would write them, and the commands. Theirs is the isolated mode of Python:
# no variable of the caller's environment and no folder of the caller's decides which code runs.
environment() {
  mkdir -p "$tree/usr/bin" "$tree/$HOME_IN/bin"
  ln -s "../../../bin/python$python" "$tree/$HOME_IN/bin/python"
  printf 'home = /usr/bin\ninclude-system-site-packages = false\n' > "$tree/$HOME_IN/pyvenv.cfg"
  local command module function found=
  while IFS=' =:' read -r command module function; do
    printf '#!/%s/bin/python -I\nimport sys\n\nfrom %s import %s\n\nsys.exit(%s())\n' \
      "$HOME_IN" "$module" "$function" "$function" > "$tree/usr/bin/$command"
    chmod 755 "$tree/usr/bin/$command"; found=1
  done < <(awk '/^\[/ {inside = $0 == "[console_scripts]"; next} inside && NF' "$info/entry_points.txt")
  [ -n "$found" ] || die "the wheel has no command"
}

# What the wheel brings in share/: manual page and completions, into Debian's folders for them.
shared_files() {
  local file place
  [ -d "$work/data/share" ] || return 0
  while IFS= read -r file; do
    case $file in
      man/man?/*) place=usr/share/$file ;;
      bash-completion/completions/* | fish/vendor_completions.d/*) place=usr/share/$file ;;
      zsh/site-functions/*) place=usr/share/zsh/vendor-completions/${file##*/} ;;
      *) die "the wheel has share/$file, which has no place in the package yet" ;;
    esac
    install -D -m 644 "$work/data/share/$file" "$tree/$place"
    case $place in usr/share/man/*.gz) ;; usr/share/man/*) gzip -n9 "$tree/$place" ;; esac
  done < <(cd "$work/data/share" && find . -type f -printf '%P\n' | sort)
}

documents() {
  local folder=$tree/usr/share/doc/facesdk overrides=$tree/usr/share/lintian/overrides
  mkdir -p "$folder" "$overrides"
  python3 "$root/tools/deb_documents.py" copyright "$site" "/$HOME_IN/lib/python$python/site-packages" > "$folder/copyright"
  python3 "$root/tools/deb_documents.py" changelog "$root/CHANGELOG.md" --release "$upstream" --version "$version" \
    --suite "$suite" --maintainer "$maintainer" | gzip -n9 > "$folder/changelog.gz"
  sed "s/@PYTHON@/$python/" "$deb/README.Debian" > "$folder/README.Debian"
  (cd "$work/wheels" && sha256sum -- *.whl; cd "$(dirname "$1")" && sha256sum -- "$(basename "$1")") > "$folder/wheels.sha256"
  sed "s/@PYTHON@/$python/g" "$deb/lintian-overrides" > "$overrides/facesdk"
}

# Every library: for this machine, and needing nothing but what is beside it and what Depends names.
check_libraries() {
  local library needed name count=0
  find "$site" -name '*.so*' -type f -printf '%f\n' | sort -u > "$work/bundled"
  while IFS= read -r library; do
    readelf -h "$library" | grep -qi "Machine:.*${machine/x86_64/X86-64}" || die "${library#"$tree"} is not for $machine"
    while IFS= read -r needed; do
      case $needed in
        libc.so.6 | libm.so.6 | libdl.so.2 | libpthread.so.0 | librt.so.1 | libutil.so.1 | ld-linux-*) ;;
        libgcc_s.so.1 | libstdc++.so.6 | libz.so.1) ;;
        *) grep -qxF "$needed" "$work/bundled" || die "${library#"$tree"} needs $needed" ;;
      esac
    done < <(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    while IFS= read -r name; do
      case $name in
        GLIBC_2.*) [ "${name##*.}" -le "$glibc" ] ;;
        GLIBCXX_3.4.*) [ "${name##*.}" -le "$glibcxx" ] ;;
      esac || die "${library#"$tree"} needs $name, which $suite has not"
    done < <(readelf -VW "$library" | grep -oE '\b(GLIBC_2\.[0-9]+|GLIBCXX_3\.4\.[0-9]+)' | sort -u)
    count=$((count + 1))
  done < <(find "$site" -name '*.so*' -type f)
  [ $count -gt 10 ] || die "only $count libraries in the package"
}

# Folders of this machine, in our own files that of who built the wheel too (likely the same).
check_paths() {
  ! grep -rlF -e "$work" -e "$root" "$tree" || die "the files above name folders of this machine"
  ! grep -rlF -e "$HOME/" "$site"/facesdk* || die "the files above name $HOME"
  [ -z "$(find "$tree" -name '__pycache__' -o -name '*.pyc' -o -type l -lname '/*')" ] || die "byte code or an absolute link"
}

control() {
  local summary; summary=$(sed -n 's/^Summary: //p' "$info/METADATA" | head -1)
  mkdir "$tree/DEBIAN"
  (cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum > DEBIAN/md5sums)
  sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@GLIBC@/2.$glibc/; s/@GCC@/$gcc/g; s/@PYTHON@/$python/" \
    -e "s/@NEXT@/3.$((${python#3.} + 1))/; s/@MAINTAINER@/${maintainer//\//\\/}/" \
    -e "s/@SIZE@/$(du -sk --apparent-size --exclude=DEBIAN "$tree" | cut -f1)/" "$deb/control" > "$tree/DEBIAN/control"
  [ -n "$summary" ] || die "the wheel says nothing of itself"
  install -m 755 "$deb/postinst" "$deb/prerm" "$tree/DEBIAN/"
}

# One package of one wheel.
make_package() {
  local wheel=$1 name; name=$(basename "$1" .whl)
  [[ $name =~ ^facesdk_unlock-([^-]+)-cp3([0-9]+)-cp3[0-9]+-.*(x86_64|aarch64)$ ]] || die "$name is no wheel of facesdk for Linux"
  upstream=${BASH_REMATCH[1]} python=3.${BASH_REMATCH[2]} machine=${BASH_REMATCH[3]}
  suite_of_python "$python" || die "$name: no Debian has CPython $python for its own"
  case $machine in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; esac
  # A version before the release sorts before it.
  version=$(sed -E 's/(a|b|rc|\.dev)/~\1/' <<< "$upstream")+$release$revision
  tree=$work/tree site=$tree/$HOME_IN/lib/python$python/site-packages
  rm -rf "$tree" "$work/data"; mkdir -p "$tree"
  say "$name, for $suite $architecture"
  install_wheels "$wheel"; documents "$wheel"; prune; environment; shared_files
  check_libraries; check_paths; control
  find "$tree/usr/lib" -type f -exec chmod 644 {} +
  find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  local package=$out/facesdk_${version}_$architecture.deb
  quietly nice dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$tree" "$package"
  say "  $(basename "$package"): $(stat -c %s "$package") bytes, installed $(sed -n 's/^Installed-Size: //p' "$tree/DEBIAN/control") kB"
  if command -v lintian >/dev/null; then
    nice lintian --allow-root --fail-on error --tag-display-limit 0 "$package" >"$work/lintian" 2>&1 \
      || { cat "$work/lintian" >&2; die "lintian finds errors"; }
    say "  lintian: no error; $(paste -sd ';' "$work/lintian")"
  else
    echo "SKIPPED: lintian is not installed"
  fi
}

maintainer="${DEBFULLNAME:-facesdk maintainers} <${DEBEMAIL:-maintainers@facesdk.invalid}>"
for wheel in "${wheels[@]}"; do make_package "$wheel"; done
