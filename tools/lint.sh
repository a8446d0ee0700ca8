#!/usr/bin/env bash
# lint.sh [PYTHON]: lint and types as CI holds them, by the tools of the extra `lint`. PYTHON: default .venv-test/bin/python.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv-test/bin/python}
"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
"$python" -m mypy.stubtest facesdk._core --mypy-config-file pyproject.toml --allowlist tools/stubtest_allowlist.txt
