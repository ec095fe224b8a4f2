# Each target does its own set-up. Needs Python 3.11 to 3.13, make and the package indexes.
#   make demo                 a simulated study, or a real one: make demo STUDY=folder
#   make test                 everything that must hold
#   make setup PYTHON=path    with a Python that is not on the PATH
SHELL = /bin/sh
.PHONY: help setup setup-train demo test lint format bench lock sbom clean
PYTHON ?=
STUDY ?=
export PYTHON

help:
	@echo "make demo [STUDY=folder] | test | setup | setup-train | lint | format | bench | lock | sbom | clean"

setup:
	@sh scripts/setup.sh run

# What `readingroom train` needs besides.
setup-train:
	@sh scripts/setup.sh train

demo: setup
	@STUDY="$(STUDY)" sh scripts/demo.sh

test:
	@sh scripts/setup.sh test
	@sh scripts/test.sh

lint:
	@sh scripts/setup.sh test
	@sh scripts/test.sh lint

format:
	@sh scripts/setup.sh test
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

bench:
	@sh scripts/setup.sh test
	@.venv/bin/python -m benchmarks

# Writes both lock files anew from pyproject.toml, with uv in a folder of its own that is thrown away.
lock:
	@sh scripts/lock.sh

# A bill of all that an installation holds (CycloneDX 1.6), in dist/sbom.json.
sbom:
	@sh scripts/setup.sh test
	@.venv/bin/python scripts/sbom.py

clean:
	rm -rf .venv readingroom/web/static readingroom/web/frontend/node_modules dist .mypy_cache .ruff_cache .pytest_cache
