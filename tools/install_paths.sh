#!/usr/bin/env bash
# install_paths.sh --wheels DIR [--root bookworm-amd64]... [--source] [--run PATH] [--work DIR]
#
# Tries the install commands of the README and of docs/guides/raspberry-pi-door.md as written, in fresh Debian root file
# systems: Debian 12 and 13 on x86-64, and on 64-bit ARM what Raspberry Pi OS bookworm (CPython 3.11) and trixie (3.13) are
# made of. Prints for each how long it took and how large site-packages became without pip and setuptools.
#   --wheels DIR   the wheels and the source distribution that tools/build_wheels.sh made
#   --root NAME    SUITE-ARCH, may be repeated; default: bookworm and trixie, amd64 and arm64
#   --source       also the README's first command, in the unpacked source distribution; it compiles, which takes long
#                  where emulated
#   --run PATH     the runner of an emulated arm64 environment, for arm64 roots; without it they are skipped
#   --work DIR     where the roots are made and kept; default: a temporary folder
# Needs root, mmdebstrap, unshare and, for arm64, arch-test; the mirror is the host's, and so are pip's configuration and the certificates.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
wheels='' roots=() source='' run='' work=''
while [ $# -gt 0 ]; do
  case $1 in
    --wheels) wheels=$(cd "${2:?}" && pwd); shift 2 ;;
    --root) roots+=("${2:?}"); shift 2 ;;
    --source) source=1; shift ;;
    --run) run=$(readlink -f "${2:?}"); shift 2 ;;
    --work) work=${2:?}; shift 2 ;;
    *) sed -n '2,14p' "$0" >&2; exit 2 ;;
  esac
done
[ ${#roots[@]} -gt 0 ] || roots=(bookworm-amd64 trixie-amd64 bookworm-arm64 trixie-arm64)
[ -n "$wheels" ] || { echo "--wheels is needed" >&2; exit 2; }
[ -n "$work" ] || { work=$(mktemp -d); trap 'rm -rf --one-file-system "$work"' EXIT; }
mkdir -p "$work"; work=$(cd "$work" && pwd)
say() { printf '[paths %4ds] %s\n' "$SECONDS" "$*"; }
die() { printf 'install_paths.sh: %s\n' "$*" >&2; exit 1; }

# The one line of shell in the block that follows a mark in a page.
line_of() {
  local line
  line=$(awk -v mark="<!-- $2 -->" '$0 == mark {found=1; next} found && /^```/ {if (inside) exit; inside=1; next} inside' "$project/$1")
  [ "$(wc -l <<< "$line")" = 1 ] && [ -n "$line" ] || die "$1 has no block of one line after its mark $2"
  printf '%s' "$line"
}
demo=$(line_of README.md demo-command) wheel=$(line_of docs/guides/raspberry-pi-door.md wheel-command)

# Makes $work/NAME/root from the host's own mirror.
make_root() {
  local suite=${1%-*} arch=${1##*-} options=() line sources
  sources=$(apt-get indextargets --format "deb \$(REPO_URI) $suite main" 'Created-By: Packages' 'Origin: Debian' \
    | grep -v -- -security | sort -u | head -1)
  [ -n "$sources" ] || die "no Debian source in this host's apt configuration"
  while IFS= read -r line; do options+=(--aptopt="$line"); done < <(apt-config dump Acquire \
    | grep -E '^Acquire::(http|https|ForceIPv4|Check|Retries)' | grep -v '""' || true)
  mmdebstrap --quiet --mode=root --variant=apt --architectures="$arch" "${options[@]}" \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    "$suite" "$work/$1/root" - <<< "$sources" > "$work/$1/mmdebstrap.log" 2>&1 \
    || { tail -20 "$work/$1/mmdebstrap.log" >&2; die "no $1"; }
  local root=$work/$1/root
  mkdir -p "$root/etc/ssl/certs" "$root/root/.config" "$root/etc/xdg" "$root/project"
  [ ! -e /etc/pip.conf ] || cp -L /etc/pip.conf "$root/etc/"
  [ ! -d "$HOME/.config/pip" ] || cp -rL "$HOME/.config/pip" "$root/root/.config/"
  [ ! -d /etc/xdg/pip ] || cp -rL /etc/xdg/pip "$root/etc/xdg/"
}

# Runs a line of shell in a root: arm64 by the given runner, which shows the processor and the /sys of a board.
inside() {
  local name=$1 line=$2 root=$work/$1/root
  if [ "${name##*-}" = arm64 ]; then
    (cd / && "$work/$name/run" bash -c "cd /project && $line")
  else
    unshare --mount --propagation private bash -euc '
      mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; mount --rbind /sys "$0/sys"
      mount --bind "$(readlink -f /etc/resolv.conf)" "$0/etc/resolv.conf"
      exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$0" bash -c "cd /project && $1"' "$root" "$line"
  fi
}

# One of the README's ways, timed; $3 is its line.
try() {
  local start=$SECONDS size
  rm -rf "$work/$1/root/project/.venv"
  cp -L /etc/ssl/certs/ca-certificates.crt "$work/$1/root/root/host.crt"  # installing packages writes the root's own anew
  inside "$1" "export DEBIAN_FRONTEND=noninteractive PIP_ROOT_USER_ACTION=ignore PIP_CERT=/root/host.crt; $3" \
    > "$work/$1/$2.log" 2>&1 || { tail -30 "$work/$1/$2.log" >&2; die "$1, $2: $3"; }
  say "$1: $2 passed in $((SECONDS - start)) s"
  [ -d "$work/$1/root/project/.venv" ] || return 0
  grep -q '^demo passed' "$work/$1/$2.log" || die "$1: the demo did not run"
  size=$(cd "$work/$1/root/project/.venv/lib"/python3.*/site-packages && du -scm --exclude=pip --exclude='pip-*' \
    --exclude=setuptools --exclude='setuptools-*' --exclude=pkg_resources --exclude=_distutils_hack . | tail -1 | cut -f1)
  say "$1: site-packages without pip and setuptools: $size MB"
}

for name in "${roots[@]}"; do
  if [ "${name##*-}" = arm64 ]; then
    [ -n "$run" ] || { echo "SKIPPED: $name needs --run"; continue; }
    mkdir -p "$work/$name"; cp "$run" "$work/$name/run"
  fi
  mkdir -p "$work/$name"; rm -rf --one-file-system "$work/$name/root"
  [ "${name##*-}" != arm64 ] || (cd / && "$run" true)  # tells the kernel how to run arm64 programs
  make_root "$name"
  say "$name: root file system made"
  case ${name%-*} in bookworm) version=cp311 ;; trixie) version=cp313 ;; *) die "which CPython has ${name%-*}?" ;; esac
  case ${name##*-} in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; *) die "which machine is ${name##*-}?" ;; esac
  cp "$wheels"/*-"$version"-*"$machine".whl "$work/$name/root/project/" || die "no wheel for $version on $machine in $wheels"
  # The guide's line has one CPython and machine for an example.
  try "$name" wheel "$(sed -E "s/cp3[0-9]+-/$version-/; s/(aarch64|x86_64)\.whl/$machine.whl/" <<< "$wheel")"
  [ -n "$source" ] || continue
  tar -C "$work/$name/root/project" --strip-components=1 -xzf "$wheels"/facesdk_unlock-*.tar.gz
  try "$name" source "$demo"
done
say "done"
