#!/usr/bin/env bash
# arm64_suite.sh RUN WHEEL [PYTHON]
#
# An aarch64 wheel on emulated boards: installs it with the emulated pip, then on Cortex-A72 (Raspberry Pi 4) and A76
# (Raspberry Pi 5) runs the demo, the doctor, the comparison of every model with this x86-64 machine and a part of the
# Python suite; on Cortex-A53 (Raspberry Pi 3, Coral Dev Board) the comparison of SFace. As many lanes run at a time
# as there are processors.
#   RUN     runs a command in an arm64 environment: [QEMU_CPU=...] RUN [-b DIR]... CMD..., with the requirements of
#           pyproject.toml and its extra test
#   PYTHON  an x86-64 Python with this project installed; default: .venv-test/bin/python
# Emulated times say nothing about a board.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,12p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
run=$(readlink -f "$1") wheel=$(readlink -f "$2") python=${3:-$root/.venv-test/bin/python}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
say() { printf '[arm64 %4ds] %s\n' "$SECONDS" "$*"; }

# The marked part of the suite, by this list: what another processor could change. Kernels, the native core, the models,
# keys and templates. Left out: threads and the GIL under emulation, what starts many processes, hypothesis runs that
# are pure Python, and tests of the tests.
TESTS=(
  tests/native/test_kernels.py
  tests/test_matching.py
  tests/engine/test_runtime.py
  tests/engine/test_networks.py
  tests/engine/test_mediapipe_golden.py::test_faces_are_those_of_mediapipe
  tests/engine/test_mediapipe_golden.py::test_mesh_is_that_of_mediapipe
  tests/vault/test_record.py
  tests/vault/test_vault_golden.py
  tests/native/test_native_hostile.py::TestHostileInput
  tests/native/test_native_hostile.py::TestNetworksInPython
  tests/engine/test_engine.py::test_python_interpreter_gives_the_same_bits
  tests/engine/test_engine.py::test_two_threads_give_the_same_features
)
LEFT_OUT=(
  tests/vault/test_record.py::test_every_record_round_trips
  tests/vault/test_record.py::test_random_content_is_never_a_record
  tests/vault/test_vault_golden.py::test_the_golden_tool_never_overwrites
)

# part CPU NAME CMD...: CMD on this core, in an empty folder so that it is the wheel that is imported, the project at
# its own path. Says how long it took; ends the lane where it fails. What it printed is in $log.
part() {
  local took TIMEFORMAT='%R s, %U s of processor'
  log=$work/$1-$2.log
  took=$({ time { (cd "$work" && QEMU_CPU=$1 "$run" -b "$root" "${@:3}") > "$log" 2>&1; }; } 2>&1) ||
    { say "$1: $2 FAILED"; cat "$log"; exit 1; }
  say "$1: $2 passed ($took)"
}

# compared CPU [--sface-only]: the models on this core, then against this machine.
compared() {
  part "$1" models python "$root/tools/arm64_features.py" answers "$work/inputs.npz" "$work/$1.npz" "${@:2}"
  "$python" "$root/tools/arm64_features.py" compare "$work/inputs.npz" "$work/$1.npz" "${@:2}" 2> "$log" ||
    { say "$1: comparison FAILED"; cat "$log"; exit 1; }
}

# used CPU KERNELS: the package as it is used, and the marked part of the suite, of which nothing may be skipped.
used() {
  part "$1" kernels python -c "
import facesdk; from facesdk import _core
assert facesdk.__file__.startswith('/venv/'), facesdk.__file__
assert _core.variant() == '$2', _core.variant()"
  part "$1" demo facesdk demo --no-picture
  part "$1" doctor facesdk doctor
  grep -E '^(machine|kernels|runtime)' "$log"
  part "$1" tests env PYTHONDONTWRITEBYTECODE=1 python -m pytest -n0 -q -ra -p no:cacheprovider --durations=5 \
    -c "$root/pyproject.toml" --rootdir "$root" "${LEFT_OUT[@]/#/--deselect=}" "${TESTS[@]/#/$root/}"
  sed -n '/slowest/,$p' "$log"
  if grep -qE '[0-9]+ (skipped|xfailed)' "$log"; then say "$1: tests were skipped"; exit 1; fi
  grep -q " ${#LEFT_OUT[@]} deselected" "$log" || { say "$1: a test to leave out is not there"; exit 1; }
}

say "$(basename "$wheel")"
(cd "$(dirname "$wheel")" && "$run" -b "$work" python -m pip install -q --no-deps --force-reinstall "$wheel")
say "installed by the emulated pip"
(cd "$work" && "$python" "$root/tools/arm64_features.py" inputs "$work/inputs.npz") 2> "$work/log" ||
  { cat "$work/log"; exit 1; }

# The longest first, as many at a time as there are processors. A lane that fails lets the others end.
lanes=("compared cortex-a72" "used cortex-a72 neon" "compared cortex-a53 --sface-only" "used cortex-a76 dotprod"
  "compared cortex-a76")
touch "$work/passed"
for lane in "${lanes[@]}"; do
  while [ "$(jobs -pr | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
  { start=$SECONDS; $lane; say "lane '$lane' passed in $((SECONDS - start)) s"; echo "$lane" >> "$work/passed"; } &
done
wait
times > "$work/times"; say "user and system time of it all: $(tail -1 "$work/times")"
for lane in "${lanes[@]}"; do
  grep -qxF "$lane" "$work/passed" || { echo "arm64_suite.sh: lane '$lane' failed" >&2; exit 1; }
done
say "all passed"
