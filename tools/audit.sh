#!/usr/bin/env bash
# audit.sh [PYTHON]: known vulnerabilities in the lowest and the newest versions that pyproject.toml allows, of the core and
# of each extra, by the tools of the extra `audit`. PYTHON: default .venv-test/bin/python. Exit code 0 none, 1 some, 2 the
# versions could not be found out, 75 the advisory databases could not be asked: nothing is known then.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${1:-.venv-test/bin/python}" tools/audit.py
