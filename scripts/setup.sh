#!/bin/sh
# Makes .venv in the project's root from a lock file with hashes, builds the pages, installs the project into it.
#   sh scripts/setup.sh run     what `make demo` needs
#   sh scripts/setup.sh train   and what `make setup-train` needs: PyTorch
#   sh scripts/setup.sh test    and what `make test` needs, PyTorch with it
# A second call that has nothing to do returns at once. A call that was cut off is made good by the next one.
set -eu
cd "$(dirname "$0")/.."
KIND=${1:-run}
VENV=.venv
STAMP=$VENV/readingroom-setup

stop() {
    printf '\n%s\n' "$@" >&2
    exit 1
}

case "$(uname -s)-$(uname -m)" in
Linux-x86_64 | Linux-aarch64 | Linux-arm64 | Darwin-x86_64 | Darwin-arm64) ;;
*) stop "Reading Room runs on Linux and macOS, on x86-64 and ARM64. This is $(uname -s) on $(uname -m)." ;;
esac

if [ "$KIND" = test ]; then LOCK=requirements-test.lock SIZE=425; else LOCK=requirements.lock SIZE=375; fi

# The stamp says what was installed: the kind, and the lock files and project description it was made from.
KEY=$(cat requirements.lock requirements-test.lock requirements-train.lock requirements-train-cpu.lock pyproject.toml scripts/setup.sh | cksum)
if [ -x "$VENV/bin/readingroom" ] && [ -f "$STAMP" ]; then
    case "$KIND $(cat "$STAMP")" in
    "run run $KEY" | "run train $KEY" | "run test $KEY" | "train train $KEY" | "train test $KEY" | "test test $KEY") exec "$VENV/bin/python" scripts/build_frontend.py ;;
    # What the tests need is already there: keep it, and bring all of it up to date.
    "run test "* | "train test "*) KIND=test LOCK=requirements-test.lock SIZE=425 ;;
    "run train "*) KIND=train ;;
    esac
fi

CHECK='import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13) and sys.maxsize > 2**32))'
PYTHON_FOUND=
WITHOUT_VENV=
SEEN=
for name in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
    command -v "$name" >/dev/null 2>&1 || continue
    version=$("$name" -c 'import platform; print(platform.python_version())' 2>/dev/null) || continue
    SEEN="$SEEN $name is $version."
    "$name" -c "$CHECK" 2>/dev/null || continue
    if "$name" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        PYTHON_FOUND=$name
        break
    fi
    WITHOUT_VENV="$name $version"
done
if [ -z "$PYTHON_FOUND" ] && [ -n "$WITHOUT_VENV" ]; then
    short=$(printf '%s' "${WITHOUT_VENV#* }" | cut -d. -f1,2)
    stop "Python (${WITHOUT_VENV%% *}, ${WITHOUT_VENV#* }) lacks its venv module." \
        "On Debian and Ubuntu install it with: apt install python$short-venv"
fi
if [ -z "$PYTHON_FOUND" ]; then
    stop "Reading Room needs Python 3.11, 3.12 or 3.13 (64 bit).${SEEN:- There is no Python here.}" \
        "Install one of them, or name it: make setup PYTHON=/path/to/python3.12"
fi
echo "Setting up with $PYTHON_FOUND ($("$PYTHON_FOUND" -c 'import platform; print(platform.python_version())'))."

# A folder that an interrupted set-up left behind, or one of a Python that is gone or of another version, is made anew.
if [ -e "$VENV" ] && ! "$VENV/bin/python" -c "$CHECK; import pip" >/dev/null 2>&1; then
    echo "The folder $VENV is not usable; making it anew."
    rm -rf "$VENV"
fi
if [ -d "$VENV" ] && ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then rm -rf "$VENV"; fi
[ -d "$VENV" ] || "$PYTHON_FOUND" -m venv "$VENV" || {
    rm -rf "$VENV"
    stop "Python could not make the folder $VENV (its words are above)."
}
rm -f "$STAMP"

packages() { "$VENV/bin/python" -m pip install --disable-pip-version-check --require-hashes --only-binary :all: --no-deps "$@"; }

echo "Installing $(grep -c '==' "$LOCK") packages from $LOCK, each checked against its hash."
echo "The first time this fetches about $SIZE MB; what is there already is not fetched again."
packages -r "$LOCK" ||
    stop "The packages could not be installed (pip's words are above)." \
        "Look whether this machine reaches the package index, then run the same command again: it goes on from here."
if [ "$KIND" != run ]; then
    # The CPU build of PyTorch where there is no GPU and there is such a build (it is a twentieth of the other): from wherever pip looks,
    # then from PyTorch's own index. Everywhere else, what PyPI has.
    CPU=no
    case "$(uname -s)-$(uname -m)-$("$VENV/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" in
    Linux-x86_64-3.11) command -v nvidia-smi >/dev/null 2>&1 || CPU=yes ;;
    esac
    echo "Installing PyTorch for training. The first time this fetches about 200 MB (3 GB where only the build for GPUs is to be had)."
    if [ "$CPU" = no ] || ! {
        packages -r requirements-train-cpu.lock 2>/dev/null ||
            packages --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu -r requirements-train-cpu.lock 2>/dev/null
    }; then
        packages -r requirements-train.lock ||
            stop "PyTorch could not be installed (pip's words are above)." \
                "Look whether this machine reaches the package index, then run the same command again: it goes on from here."
    fi
fi
"$VENV/bin/python" scripts/build_frontend.py ||
    stop "The pages could not be built (the reason is above)." "Run the same command again: it goes on from here."
"$VENV/bin/python" -m pip install --disable-pip-version-check --quiet --no-index --no-deps --no-build-isolation -e .
printf '%s %s' "$KIND" "$KEY" >"$STAMP"
echo "Set up."
