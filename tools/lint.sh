#!/usr/bin/env bash
# lint.sh [PYTHON [STEP...]]: lint and types as CI holds them, by the tools of the extra `lint`. PYTHON: default
# .venv-test/bin/python. STEP: ruff, format, files, mypy, stubs; default all.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv-test/bin/python}; shift || true
[ $# -gt 0 ] || set -- ruff format files mypy stubs
for step in "$@"; do
  case $step in
    ruff) "$python" -m ruff check . ;;
    format) "$python" -m ruff format --check . ;;
    files) "$python" tools/check_files.py ;;
    mypy) "$python" -m mypy ;;
    stubs) "$python" -m mypy.stubtest facesdk._core --mypy-config-file pyproject.toml --allowlist tools/stubtest_allowlist.txt ;;
    *) echo "lint.sh: no step $step" >&2; exit 2 ;;
  esac
done
