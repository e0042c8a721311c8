# Everything that a developer does with this checkout. `make demo` and `make test` set up all that
# they need in .venv and build/, and write nothing outside of the checkout.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Changes whenever something that the environment is made of changes.
STAMP := $(VENV)/installed
CORE := $(VENV)/built
SOURCES := $(shell find csrc edgesdk -name '*.[ch]' -o -name '*.inc' -o -name '*.pyx' -o -name '*.pxd') setup.py

# A process for each processor; a file's tests stay together, the files that take longest come first.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# What tools would else leave in the home folder of whoever runs them, and in /tmp.
export PIP_CACHE_DIR := $(CURDIR)/build/cache/pip
export MPLCONFIGDIR := $(CURDIR)/build/cache/matplotlib
export TMPDIR := $(CURDIR)/build/tmp
$(shell mkdir -p '$(MPLCONFIGDIR)' '$(TMPDIR)')

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick test-aarch64 test-armv7l conformance lint bench clean sanitize coverage fuzz wheel

help:
	@echo "make demo        run the main job on real handwritten digits, with a report"
	@echo "make test        all tests"
	@echo "make test-quick  all but the slow ones"
	@echo "make test-aarch64, test-armv7l"
	@echo "                 the core's bits on Arm, by a cross compiler and an emulator"
	@echo "make conformance published models on the core and on LiteRT, into docs/conformance.md"
	@echo "make lint        formatting, types, layers, warnings of the C compiler"
	@echo "make sanitize    the core's tests under AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make coverage    what the tests reach, in Python and in C, with gates"
	@echo "make fuzz        hostile models, bundles and documents for a minute (FUZZ_SECONDS); needs clang"
	@echo "make bench       times of kernels, models and the fallback on this machine"
	@echo "make wheel       source archive, and a wheel that is built and tested from it"
	@echo "make clean       remove all that the others made"

demo: $(CORE)
	@$(BIN)/edgesdk demo --report reports/demo

test: $(CORE)
	@$(PYTEST)

test-quick: $(CORE)
	@$(PYTEST) -m 'not slow'

test-aarch64 test-armv7l: test-%: $(CORE)
	@.ci/check-emulator $*
	@$(BIN)/python -m pytest tests/test_processors.py -k $*

# Published models: not in the project (CONTRIBUTING.md).
EDGESDK_TEST_DATA ?= ../shared

conformance: $(CORE)
	@$(BIN)/python -m tests.conformance --write docs/conformance.md \
		$(EDGESDK_TEST_DATA)/models/networks $(EDGESDK_TEST_DATA)/models/generated \
		$(EDGESDK_TEST_DATA)/models/generated_rnn

lint: $(CORE) $(VENV)/linters
	@.ci/lint $(BIN)

sanitize: $(STAMP)
	@.ci/sanitize $(BIN)

coverage: $(STAMP) $(VENV)/linters
	@.ci/coverage $(BIN)

fuzz: $(CORE) $(VENV)/fuzzer
	@.ci/fuzz $(BIN)

bench: $(CORE)
	@$(BIN)/python benchmarks/bench_models.py
	@$(BIN)/python benchmarks/bench_fallback.py

wheel: $(STAMP)
	@.ci/wheel $(BIN)

clean:
	rm -rf $(VENV) build dist reports *.egg-info .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find edgesdk -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment

$(VENV)/bin/python:
	@.ci/check-machine $(PYTHON)
	@echo "==> creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(VENV)/bin/python
	@echo "==> installing libraries into $(VENV) (a few minutes the first time)"
	@$(BIN)/python .ci/install.py test
	@touch $@

$(VENV)/linters: pyproject.toml | $(STAMP)
	@echo "==> installing linters into $(VENV)"
	@$(BIN)/python .ci/install.py lint
	@touch $@

$(VENV)/fuzzer: pyproject.toml | $(STAMP)
	@echo "==> installing atheris into $(VENV)"
	@$(BIN)/python .ci/install.py fuzz
	@touch $@

$(CORE): $(SOURCES) $(STAMP)
	@echo "==> building the core (half a minute)"
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@# setuptools warns of a folder of the package's name: that folder is what is meant.
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-build-isolation --no-deps --editable .
	@touch $@
