#!/usr/bin/env bash
# arm64_suite.sh RUN WHEEL [PYTHON]
#
# An aarch64 wheel on emulated boards: installs it with the emulated pip, then on Cortex-A72 (Raspberry Pi 4) and A76
# (Raspberry Pi 5) runs the demo, the doctor, the comparison of every model with this x86-64 machine and a part of the
# Python suite; on Cortex-A53 (Raspberry Pi 3, Coral Dev Board) the comparison of SFace. The three run side by side.
#   RUN     runs a command in an arm64 environment: [QEMU_CPU=...] RUN [-b DIR]... CMD..., with the requirements of
#           pyproject.toml and its extra test
#   PYTHON  an x86-64 Python with this project installed; default: .venv-test/bin/python
# Emulated times say nothing about a board.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,11p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
run=$(readlink -f "$1") wheel=$(readlink -f "$2") python=${3:-$root/.venv-test/bin/python}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
say() { printf '[arm64 %4ds] %s\n' "$SECONDS" "$*"; }

# What of the suite is worth its time on another processor: kernels, the native core, the models, keys and templates.
# Left out: threads and the GIL under emulation, what starts many processes, and hypothesis runs that are pure Python.
TESTS=(
  tests/test_kernels.py
  tests/test_matching.py
  tests/test_runtime.py
  tests/test_models.py
  tests/test_golden_mediapipe.py
  tests/test_record.py
  tests/test_vault_golden.py
  tests/test_native_pipeline.py::TestHostileInput
  tests/test_native_pipeline.py::TestSessionsInPython
  tests/test_engine.py::test_features_are_unit_vectors_of_the_right_length
  tests/test_engine.py::test_python_interpreter_gives_the_same_bits
  tests/test_engine.py::test_two_threads_give_the_same_features
)

# inside CPU CMD...: in an empty folder, the project at its own path, so that it is the wheel that is imported.
inside() { (cd "$work" && QEMU_CPU=$1 "$run" -b "$root" "${@:2}"); }

# part CPU NAME CMD...: runs it, writes what it printed and how long it took; stops this core at the first failure.
part() {
  local start=$SECONDS log="$work/$1-$2.log"
  if inside "$1" "${@:3}" > "$log" 2>&1; then
    say "$1: $2 passed in $((SECONDS - start)) s"
  else
    say "$1: $2 FAILED after $((SECONDS - start)) s"; cat "$log"; return 1
  fi
}

# board CPU KERNELS: everything on one core.
board() {
  part "$1" kernels python -c "
import facesdk; from facesdk import _core
assert facesdk.__file__.startswith('/venv/'), facesdk.__file__
assert _core.variant() == '$2', _core.variant()" || return
  part "$1" demo facesdk demo --no-picture || return
  part "$1" doctor facesdk doctor || return
  grep -E '^(machine|kernels|runtime)' "$work/$1-doctor.log"
  part "$1" comparison python "$root/tools/arm64_features.py" compare "$work/reference.npz" || return
  grep -v '^INFO' "$work/$1-comparison.log"
  part "$1" tests env PYTHONDONTWRITEBYTECODE=1 python -m pytest -q -p no:cacheprovider --durations=10 \
    -c "$root/pyproject.toml" --rootdir "$root" "${TESTS[@]/#/$root/}" || return
  sed -n '/slowest/,$p' "$work/$1-tests.log"
}

# sface CPU: that SFace's features are those of x86-64 on a core whose decisions are not compared.
sface() {
  part "$1" sface python "$root/tools/arm64_features.py" compare --sface-only "$work/reference.npz" || return
  grep -v '^INFO' "$work/$1-sface.log"
}

say "$(basename "$wheel")"
(cd "$(dirname "$wheel")" && "$run" -b "$work" python -m pip install -q --no-deps --force-reinstall "$wheel")
say "installed by the emulated pip"
(cd "$work" && "$python" "$root/tools/arm64_features.py" reference "$work/reference.npz") 2>/dev/null
say "reference made on $(uname -m)"
{ board cortex-a72 neon && touch "$work/ok-a72"; } &
{ board cortex-a76 dotprod && touch "$work/ok-a76"; } &
{ sface cortex-a53 && touch "$work/ok-a53"; } &
wait
for core in a53 a72 a76; do [ -e "$work/ok-$core" ] || { echo "arm64_suite.sh: cortex-$core failed" >&2; exit 1; }; done
say "all passed"
