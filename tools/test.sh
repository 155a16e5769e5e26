#!/usr/bin/env bash
# Set PALM up in .venv and run its tests: the README's second command. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv/bin/pip ] || python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
# Two at a time: much of the suite waits for processes, leases and time-outs. With arguments it is for them to say.
[ $# -gt 0 ] || set -- --numprocesses 2 --dist loadscope
exec .venv/bin/python -m pytest "$@"
