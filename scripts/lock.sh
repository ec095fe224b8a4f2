#!/bin/sh
# Writes requirements-test.lock and requirements.lock from pyproject.toml. Versions in both are the same.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
UV=${UV:-}
if [ -z "$UV" ]; then
    .venv/bin/python -m venv "$scratch/venv"
    "$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
    UV=$scratch/venv/bin/uv
fi
compile() { "$UV" pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 "$@"; }
compile --extra test --extra build pyproject.toml -o requirements-test.lock
compile --extra build -c requirements-test.lock pyproject.toml -o requirements.lock
echo "Wrote requirements.lock and requirements-test.lock."
