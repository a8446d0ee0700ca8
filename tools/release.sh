#!/usr/bin/env bash
# release.sh [--quick] [--no-deb] --out DIR
#
# Makes what a release consists of, into the new folder DIR: the source distribution, all wheels, the Debian packages, an SBOM
# for each, SHA256SUMS, and tag-message.txt for the signed tag, whose checksums then vouch for the files. Works on a clone of HEAD,
# so that nothing uncommitted or ignored gets in. Sends nothing and makes no tag: it prints the commands for that.
# Refuses unless the tree is clean, CHANGELOG.md begins with a dated section of pyproject.toml's version, and no tag has it.
#   --quick    CPython 3.11 alone; and what would be refused is only said: for trying, the tag message says so too
#   --no-deb   no Debian packages
# Needs what tools/build_wheels.sh and tools/build_deb.sh need.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
quick='' deb=1 out=''
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1; shift ;;
    --no-deb) deb=; shift ;;
    --out) out=${2:?}; shift 2 ;;
    *) sed -n '2,10p' "$0" >&2; exit 2 ;;
  esac
done
[ -n "$out" ] || { sed -n '2,10p' "$0" >&2; exit 2; }
say() { printf '[release %4ds] %s\n' "$SECONDS" "$*"; }
die() { printf 'release.sh: %s\n' "$*" >&2; exit 1; }
refused=()
refuse() { if [ -n "$quick" ]; then refused+=("$*"); say "would be refused: $*"; else die "$*"; fi; }
[ ! -e "$out" ] || [ -z "$(ls -A "$out")" ] || die "$out is not empty: files of another run would be released too"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export LC_ALL=C PIP_DISABLE_PIP_VERSION_CHECK=1

# Do version, changelog and git agree?
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml")
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?$ ]] || die "pyproject.toml's version is '$version'"
tag=v$version
commit=$(git -C "$root" rev-parse HEAD)
[ -z "$(git -C "$root" status --porcelain)" ] || refuse "the tree is not clean: git status"
heading=$(grep -m1 '^## ' "$root/CHANGELOG.md" || true)
[[ $heading == "## $version" || $heading == "## $version "* ]] || die "CHANGELOG.md begins with '$heading', not with $version"
[[ $heading =~ ^"## $version "\([0-9]{4}-[0-9]{2}-[0-9]{2}\)$ ]] || refuse "'$heading' has no date: ## $version (YYYY-MM-DD)"
section=$(awk -v heading="$heading" '/^## / {inside = $0 == heading; next} inside' "$root/CHANGELOG.md" | sed -e '/./,$!d')
[ -n "$section" ] || die "CHANGELOG.md says nothing of $version"
! git -C "$root" rev-parse -q --verify "refs/tags/$tag" >/dev/null || refuse "the tag $tag exists"
say "$version of commit $commit"

mkdir -p "$out"; out=$(cd "$out" && pwd)
git clone -q "$root" "$work/clone"
git -C "$work/clone" checkout -q --detach "$commit"
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct "$commit"); export SOURCE_DATE_EPOCH
pythons=3.10,3.11,3.12,3.13,3.14; [ -z "$quick" ] || pythons=3.11
bash "$work/clone/tools/build_wheels.sh" --python "$pythons" --out "$out" | tee "$work/wheels.log"
# What the wheel script skips is missing from a release; emulated demos are another script's.
missing=$(grep '^SKIPPED' "$work/wheels.log" | grep -v '^SKIPPED: demo of the' || true)
[ -z "$missing" ] || refuse "not all wheels were made: $missing"

if [ -n "$deb" ]; then
  mapfile -t wheels < <(ls "$out"/*-cp311-*.whl "$out"/*-cp313-*.whl 2>/dev/null)
  bash "$work/clone/tools/build_deb.sh" --out "$out" "${wheels[@]}" | tee "$work/deb.log"
fi

# Wheels have their SBOMs by now.
debian=$(sed -E 's/(a|b|rc)/~\1/' <<< "$version")
python3 -m venv "$work/tools"
"$work/tools/bin/pip" install -q -r "$work/clone/tools/wheel_requirements.txt" >"$work/pip.log" 2>&1 \
  || { tail -20 "$work/pip.log" >&2; die "no tools for the SBOMs"; }
shopt -s nullglob
artifacts=("$out"/*.tar.gz "$out"/*.whl "$out"/*.deb)
"$work/tools/bin/python" "$work/clone/tools/artifact_sbom.py" "$out"/*.tar.gz "$out"/*.deb
for artifact in "${artifacts[@]}"; do
  name=$(basename "$artifact")
  [[ $name == facesdk_unlock-"$version"[-.]* || $name == facesdk_"$debian"+* ]] || die "$name is not of version $version"
  stem=${artifact%.tar.gz}; stem=${stem%.whl}; stem=${stem%.deb}
  [ -s "$stem.cdx.json" ] || die "$name has no SBOM"
done
files=("${artifacts[@]##*/}"); for file in "$out"/*.cdx.json; do files+=("${file##*/}"); done
(cd "$out" && sha256sum -- "${files[@]}" > SHA256SUMS && sha256sum --quiet --strict -c SHA256SUMS)
! find "$out" -mindepth 1 -maxdepth 1 -printf '%f\n' | grep -vxFf <(printf '%s\n' "${files[@]}" SHA256SUMS) \
  || die "$out holds what is named above and SHA256SUMS does not name"

{
  printf 'facesdk-unlock %s\n\n' "$version"
  [ -z "$quick" ] || printf 'A TRIAL, NOT A RELEASE (--quick). %s\n\n' "${refused[*]:-}"
  printf '%s\n\nSHA-256 of what was made of this commit (SHA256SUMS):\n\n' "$section"
  cat "$out/SHA256SUMS"
} > "$out/tag-message.txt"

say "${#artifacts[@]} artifacts, $(du -sm "$out" | cut -f1) MB in $out"
if [ -n "$quick" ]; then say "a trial: nothing to tag"; exit 0; fi
cat <<NEXT
Nothing was sent and no tag was made. What remains, by hand:
  git tag -s --cleanup=whitespace -F $out/tag-message.txt $tag $commit
  git verify-tag $tag && git push origin $tag
  a release of that tag with the files of $out; packaging/pypi-publish.yml says how they reach PyPI
NEXT
