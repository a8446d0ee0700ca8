#!/usr/bin/env bash
# try_deb.sh [--run PATH] [--work DIR] DEB SUITE
#
# Tries a Debian package in a fresh minimal root of SUITE (bookworm, trixie):
#   1. apt install with the mirror, as a user would, and the demo;
#   2. in the fresh root again, with what the package depends on and without a network: apt install, the commands as root and
#      as a user who owns nothing, dpkg --verify, installed again over itself, apt purge. Then every file of the root must be
#      what it was before, but for the logs and states of apt and dpkg.
# Prints what it does; any failure ends it with exit code 1.
#   --run PATH   the runner of an emulated arm64 environment ([QEMU_CPU=...] PATH CMD ARG..., which works in the folder
#                `root` beside itself and shows the /proc and /sys of a board); needed for arm64's package
#   --work DIR   where the root is made and kept; default: a temporary folder
# Needs root, mmdebstrap, unshare and, for arm64, qemu-user-static and arch-test. The mirror is the host's.
set -euo pipefail
run='' work='' given=()
while [ $# -gt 0 ]; do
  case $1 in
    --run) run=$(readlink -e "${2:?}"); shift 2 ;;
    --work) work=${2:?}; shift 2 ;;
    -*) sed -n '2,13p' "$0" >&2; exit 2 ;;
    *) given+=("$1"); shift ;;
  esac
done
[ ${#given[@]} -eq 2 ] || { sed -n '2,13p' "$0" >&2; exit 2; }
deb=$(readlink -e "${given[0]}") suite=${given[1]}
say() { printf '[try %4ds] %s\n' "$SECONDS" "$*"; }
die() { printf 'try_deb.sh: %s\n' "$*" >&2; exit 1; }
[ -n "$deb" ] || die "no such package: ${given[0]}"
[ -n "$work" ] || { work=$(mktemp -d); trap 'rm -rf --one-file-system "$work"' EXIT; }
mkdir -p "$work"; work=$(cd "$work" && pwd)
root=$work/root log=$work/log name=$(dpkg-deb -f "$deb" Package) arch=$(dpkg-deb -f "$deb" Architecture)
case $arch in
  "$(dpkg --print-architecture)") ;;
  arm64) [ -n "$run" ] || die "arm64's package needs --run"; cp "$run" "$work/run" ;;
  *) die "cannot run $arch here" ;;
esac

make_root() {
  local line sources options=()
  sources=$(apt-get indextargets --format "deb \$(REPO_URI) $suite main" 'Created-By: Packages' 'Origin: Debian' \
    | grep -v -- -security | sort -u | head -1)
  [ -n "$sources" ] || die "no Debian source in this host's apt configuration"
  while IFS= read -r line; do options+=(--aptopt="$line"); done < <(apt-config dump Acquire \
    | grep -E '^Acquire::(http|https|ForceIPv4|Check|Retries)' | grep -v '""' || true)
  rm -rf --one-file-system "$root"
  mmdebstrap --quiet --mode=root --variant=minbase --architectures="$arch" "${options[@]}" \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    "$suite" "$root" - <<< "$sources" > "$log" 2>&1 || { tail -20 "$log" >&2; die "no root of $suite for $arch"; }
}

# Runs a line of shell in the root, `offline` or `online`.
inside() {
  local net=(); [ "$1" = online ] || net=(unshare --net)
  if [ -n "$run" ]; then
    (cd / && "${net[@]}" "$work/run" env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -euc "$2")
  else
    # shellcheck disable=SC2016  # the inner shell expands these
    "${net[@]}" unshare --mount --propagation private sh -euc '
      mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; mount --rbind /sys "$0/sys"
      mount --bind "$(readlink -f /etc/resolv.conf)" "$0/etc/resolv.conf"
      exec env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        chroot "$0" sh -euc "cd / && $1"' "$root" "$2"
  fi
}

# One step, timed: where, what, the line of shell.
step() {
  local start=$SECONDS
  inside "$1" "$3" > "$log" 2>&1 || { tail -30 "$log" >&2; die "$2 fails: $3"; }
  say "$2: passed in $((SECONDS - start)) s"
}

# Every file with type, mode, owner, target or what is in it. Left out: what apt and dpkg write about each run.
listing() {
  local path leave=(-path "./$(basename "$deb")")
  for path in proc sys dev var/log var/cache/apt var/lib/apt 'var/lib/dpkg/status*' 'var/lib/dpkg/lock*' var/lib/dpkg/triggers/Lock; do
    leave+=(-o -path "./$path")
  done
  (cd "$root" && find . -xdev \( "${leave[@]}" \) -prune -o -printf '%y %m %U:%G %p %l\n' | sort -k4
    find . -xdev \( "${leave[@]}" \) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum)
}

say "$(basename "$deb") in $suite, $arch: $(stat -c %s "$deb") bytes"
# Starting the runner tells the kernel how to run arm64 programs; without a root that is all it can do.
if [ -n "$run" ]; then mkdir -p "$root"; (cd / && "$work/run" true >/dev/null 2>&1) || true; fi
make_root
say "root made: $(find "$root" -xdev | wc -l) files and folders, $(du -smx "$root" | cut -f1) MB, no python3"
[ ! -e "$root/usr/bin/python3" ] || die "the root has a python3 already"
cp "$deb" "$root/"
file=./$(basename "$deb")
install="apt-get -q install -y $file"
demo="cd /tmp && facesdk demo --no-picture | tail -1 | grep '^demo passed'"

step online "apt update" "apt-get -q update"
# A copy, because what the package left in the first part would be taken for the root's own in the second.
rm -rf --one-file-system "$work/fresh"; cp -a "$root" "$work/fresh"
step online "apt install, with what it depends on" "$install"
step online "demo as root" "$demo"
rm -rf --one-file-system "$root"; mv "$work/fresh" "$root"

step online "what it depends on" "apt-get -q satisfy -y '$(dpkg-deb -f "$deb" Depends)'"
listing > "$work/before"
say "before: $(wc -l < "$work/before") lines of listing"
step offline "apt install without a network" "$install"
say "installed: $(du -smx "$root/usr/lib/facesdk" | cut -f1) MB in /usr/lib/facesdk with byte code"
step offline "doctor" "facesdk doctor"
grep -E '^(machine|python|kernels|runtime)' "$log" || true
step offline "demo as root" "$demo"
step offline "demo as nobody" "cd / && setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent sh -euc \"$demo\""
# A folder of the caller's that would take numpy's place must not.
step offline "code from the caller's environment stays out" "mkdir -p /tmp/evil && echo 'raise SystemExit(\"evil\")' > /tmp/evil/numpy.py
  cd /tmp/evil && PYTHONPATH=/tmp/evil facesdk models; rm -r /tmp/evil"
step offline "every package of its own" "/usr/lib/facesdk/bin/python -I -c '
import cryptography, facesdk, numpy, PIL
for module in (cryptography, facesdk, numpy, PIL):
    assert module.__file__.startswith(\"/usr/lib/facesdk/lib/\"), module.__file__'"
step offline "dpkg --verify" "test -z \"\$(dpkg --verify $name)\""
step offline "installed again over itself" "apt-get -q install -y --reinstall $file && $demo"
# Byte code that root's programs leave, as those run by python -O do, must go too.
step offline "byte code beside ours" "/usr/lib/facesdk/bin/python -I -m compileall -q -o 1 /usr/lib/facesdk/lib/python3*/site-packages/facesdk"
step offline "apt purge" "apt-get -q purge -y $name"
! grep -iE '^(dpkg|rmdir|warning|W:|E:).*not (empty|removed)' "$log" || die "dpkg left something"
listing > "$work/after"
if ! diff "$work/before" "$work/after" > "$work/difference"; then
  head -40 "$work/difference" >&2; die "the purged package left a trace"
fi
[ -z "$(find "$root" -xdev -path "$root/var/log" -prune -o -name "*$name*" -not -name "*.deb" -print)" ] \
  || die "something is still named $name"
say "no trace: $(wc -l < "$work/after") lines of listing are the same"
