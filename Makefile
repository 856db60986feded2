# `make demo` and `make test` set up everything they need in .venv; nothing else has to be installed.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types check clean

demo: .venv/installed
	$(BIN)/lpbf-build -o out/demo.zarr --count 7 --workers 2 --split-fractions '{train: 0.85, test: 0.15}'
	rm -rf out/demo_run
	$(BIN)/lpbf-train flare --data out/demo.zarr -o out/demo_run --recipe tiny
	$(BIN)/lpbf-view out/demo.zarr --field displacement_z --screenshot out/demo_displacement_z.png
	# One of the five parts it was trained on: five parts tell little about a sixth.
	$(BIN)/lpbf-view out/demo_run --case overhang_000004_1 --screenshot out/demo_comparison.png
	@echo 'store out/demo.zarr, run out/demo_run, pictures out/demo_displacement_z.png and out/demo_comparison.png'

# Two processes of one thread each: threads of several processes would wait for each other's cores.
test: .venv/installed
	OMP_NUM_THREADS=1 LP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(TESTS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

check: lint types test

# The stamp makes the second call install nothing.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf out .pytest_cache .mypy_cache .ruff_cache .hypothesis
