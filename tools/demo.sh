#!/usr/bin/env bash
# Set PALM up in .venv and run its demo: the README's first command. Arguments go to `palm demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv/bin/pip ] || python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --editable .
exec .venv/bin/python -m palm demo "$@"
