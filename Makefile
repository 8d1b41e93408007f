# Every target sets itself up. An interpreter that has this checkout installed is used as it is (PYTHON=... or an
# active environment); otherwise .venv is made with PYTHON, and reused while it is current and of that PYTHON.
# On Windows: GNU make (choco install make) from Git's bash, with PYTHON=python.

PYTHON ?= python3
HERE := $(CURDIR)
INSTALLED := import os, sys; import dualmcmc; sys.exit(not os.path.samefile(os.path.dirname(dualmcmc.__file__), "src/dualmcmc"))
OWN := $(shell cd "$(HERE)" && $(PYTHON) -c '$(INSTALLED)' 2>/dev/null && echo yes)
WHICH := $(shell (echo "$(HERE)"; $(PYTHON) -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null) | cksum | cut -d' ' -f1)
STAMP := .venv/ready-$(WHICH)
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

ifeq ($(OWN),yes)
RUN := $(PYTHON)
READY :=
else
RUN := $(BIN)/python
READY := $(STAMP)
endif

.PHONY: help demo docs test test-slow lint types check dist package-check pins release-check clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 14

demo: $(READY)  ## train on handwritten digits into runs/demo, draw, reconstruct: about 4 minutes
	rm -rf runs/demo
	$(RUN) -m dualmcmc train digits --out runs/demo
	$(RUN) examples/demo.py runs/demo

docs: $(READY)  ## the documentation, into docs/_build/html; a warning is an error
	$(RUN) -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html

test: $(READY)  ## the tests
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(READY)  ## the tests that take minutes
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m slow

lint: $(READY)  ## style
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(READY)  ## type hints
	$(RUN) -m mypy

check: lint types  ## style and type hints

dist: $(READY)  ## dist/: the sdist, and the wheel made from it
	rm -rf dist
	$(RUN) -m build --no-isolation

package-check: dist  ## is dist/ whole, and does the wheel work in a fresh environment: some minutes, installs torch anew
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q tests/test_package.py
	$(RUN) release/fresh.py dist

pins:  ## do the pins of constraints.txt resolve on every Python and system that we support
	$(PYTHON) release/pins.py

release-check: $(READY)  ## are the bundled models what their cards say: trains the digits one anew, about 5 minutes
	OMP_NUM_THREADS=1 $(RUN) release/check.py

clean:  ## remove the environment and caches, not runs
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache docs/_build dist

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "make: $(PYTHON) is older than Python 3.10; give another: make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
