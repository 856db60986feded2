# `make demo` and `make test` set up everything they need in .venv; nothing else has to be installed.

PYTHON ?= python3
BIN := .venv/bin
SHARED ?= ../shared

.PHONY: demo test lint types check clean

# A stamp, so that the second call installs nothing.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
