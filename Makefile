# One place for the commands of the README. Each sets up what it needs; nothing else has to be installed but Python and make.
PYTHON ?= python3
VENV := .venv
# processes that share the tests
WORKERS ?= 2
SHELL := bash
.SHELLFLAGS := -o pipefail -c
BIN := $(VENV)/bin
DISTRIBUTIONS := -e ".[dev,docs]" -e plugins/lifted -e plugins/pddm -e plugins/normsoftmax -e plugins/pml

.PHONY: setup demo test test-slow fuzz coverage check docs bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       set up, train on the built-in data set, evaluate, index what training never saw"
	@echo "make test       set up, run the test suite, the same every time (under 10 minutes on 2 cores)"
	@echo "make test-slow  the tests that take longer: whole trainings, several processes, fresh environments; SLOW=tests/server selects"
	@echo "make fuzz       try the properties of the suite on inputs drawn at random, and 100,000 damaged files of weights"
	@echo "make coverage   which lines the test suite reaches; htmlcov/index.html shows them"
	@echo "make check      style, types and the architecture's rules"
	@echo "make docs       build the documentation into site/, and fail on a broken link; open site/index.html"
	@echo "make bench      measure losses, training loop, data pipeline, evaluation and embedding against peers, server and index; of losses: make bench BENCH=--help"
	@echo "make setup      only make $(VENV) and install everything into it"
	@echo "make clean      remove $(VENV) and everything that was generated"

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt $(wildcard plugins/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "MetricForge needs Python 3.10 or newer, this is %d.%d; name another with: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt $(DISTRIBUTIONS)
	@touch $@

demo: setup
	$(BIN)/python tools/train.py configs/normsoftmax_glyphs.py
	$(BIN)/python tools/index_unseen.py runs/normsoftmax_glyphs

# Each file's tests stay together, for they share fixtures and pages' namespaces; the workers take the files in turn.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p no:cacheprovider --numprocesses=$(WORKERS) --dist=loadfile

test: setup
	$(PYTEST) -m "not slow"

test-slow: setup
	$(PYTEST) -m slow $(SLOW)

fuzz: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt -e ".[fuzz]"
	$(BIN)/python tests/fuzzing/fuzz_weight_files.py -runs=100000
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -m hypothesis $(FUZZ)

coverage: setup
	$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term --cov-report=html

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup
	$(BIN)/python tools/reference_pages.py docs/reference
	$(BIN)/zensical build --strict --clean

bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt -e ".[bench]"
	$(BIN)/python benchmarks/losses.py $(BENCH)
	$(BIN)/python benchmarks/class_subsampling.py
	$(BIN)/python benchmarks/pddm.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/vectors.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/embed.py
	$(BIN)/python benchmarks/serve.py
	$(BIN)/python benchmarks/index.py

clean:
	rm -rf $(VENV) build dist site .cache htmlcov .coverage docs/reference/commands.md docs/reference/components.md *.egg-info plugins/*/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
