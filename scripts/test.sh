#!/bin/sh
# All that must hold: style, types, the front end's tests, then pytest, whose closing line is the last one printed.
#   sh scripts/test.sh        all
#   sh scripts/test.sh lint   style and types only
set -eu
cd "$(dirname "$0")/.."
BIN=.venv/bin
step() { printf '\n== %s\n' "$1"; }
step "ruff check" && $BIN/ruff check .
step "ruff format" && $BIN/ruff format --check .
step "mypy" && $BIN/mypy
[ "${1:-}" = lint ] && exit 0
step "front end" && $BIN/python scripts/build_frontend.py test
step "pytest"
# Two workers: what one file's tests share is made once, and the machine has two cores.
exec $BIN/pytest -n 2 --dist loadfile -q
