# shellcheck shell=bash
# What the Debian scripts know of each distribution; sourced by tools/build_deb.sh and packaging/deb/lock.sh.

# Sets, for a CPython version: suite, release (end of the package's version), glibc (minor), gcc (whose libstdc++ it has) and
# glibcxx (newest GLIBCXX_3.4.N in that). Returns 1 where no distribution has this CPython for its own.
# shellcheck disable=SC2034  # read by who sources this
suite_of_python() {
  case $1 in
    3.11) suite=bookworm release=deb12 glibc=36 gcc=12 glibcxx=30 ;;
    3.13) suite=trixie release=deb13 glibc=41 gcc=14 glibcxx=33 ;;
    *) return 1 ;;
  esac
}

# Fills the array `tags` with pip's options for wheels that a machine with this glibc takes: machine, minor of glibc.
platform_tags() {
  local minor
  tags=(--only-binary ":all:" --implementation cp --platform "linux_$1")
  for ((minor = $2; minor >= 17; minor--)); do tags+=(--platform "manylinux_2_${minor}_$1"); done
  tags+=(--platform "manylinux2014_$1")
}
