#!/bin/sh
# `make demo`: hands the study's folder on, if one was named, without the shell splitting its name.
set -eu
cd "$(dirname "$0")/.."
if [ -n "${STUDY:-}" ]; then
    exec .venv/bin/readingroom demo --study "$STUDY"
fi
exec .venv/bin/readingroom demo
