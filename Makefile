# Two set-up commands: `make demo` (a first cube and a picture of it) and `make test`.
# Each makes its own virtual environment if there is none.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export MPLBACKEND := Agg

.PHONY: demo demo-twilight test test-quick rules kernels corpus faults docs linkcheck bench warm clean

$(BIN)/.demo: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[mpdaf]"
	touch $@

$(BIN)/.test: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[mpdaf,test]"
	touch $@ $(BIN)/.demo

demo: $(BIN)/.demo
	$(BIN)/musetools demo demo

demo-twilight: $(BIN)/.demo
	$(BIN)/musetools demo-twilight --output-dir=demo-twilight

# pytest with the scripts of the virtual environment on the path (hosts start them)
PYTEST = PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(BIN)/.test
	$(PYTEST) $(TESTFLAGS)

# an answer in under two minutes: unit tests that need neither the C pipeline nor a whole recipe run
test-quick: $(BIN)/.test
	$(PYTEST) -q -m "(unit or kernel) and not parity and not golden and not slow" $(TESTFLAGS)

# the rules that the project claims: style, spelling, types, examples in docstrings
rules: $(BIN)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/python -m pytest -q --doctest-modules muse_core imphot

# compiled functions as plain Python, then compiled with a check of every index. Plain numpy scalars warn where compiled
# code follows IEEE silently; and compiled code with checks must not land in the cache of the code without.
kernels: $(BIN)/.test
	NUMBA_DISABLE_JIT=1 $(PYTEST) -q -m "kernel and not golden and not slow" -W ignore::RuntimeWarning $(TESTFLAGS)
	cache=$$(mktemp -d) && trap "rm -rf $$cache" EXIT && \
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$$cache $(PYTEST) -q -m "kernel and not golden" $(TESTFLAGS)

# broken inputs for every tag of every recipe (make corpus SEED=7 PER_TAG=150 SECONDS=3600), and with every index checked
SEED ?= 1
PER_TAG ?= 150
SECONDS ?= 3600
CORPUS = $(BIN)/python -W ignore -m tests.corpus --seed $(SEED)

corpus: $(BIN)/.test
	$(CORPUS) --per-tag $(PER_TAG) --seconds $(SECONDS) --report corpus.txt
	$(BIN)/python -W ignore -m tests.corpus.named
	cache=$$(mktemp -d) && trap "rm -rf $$cache" EXIT && NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$$cache \
	$(CORPUS) --per-tag 10 --seconds 1200 scipost scipost-tables combine scibasic twilight

# runs to which the machine refuses something: memory, disk, files, a terminal, a home; signals; workers that die
faults: $(BIN)/.test
	$(PYTEST) tests/corpus/test_faults.py tests/test_cluster_faults.py tests/test_concurrent_runs.py $(TESTFLAGS)

$(BIN)/.docs: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	touch $@

# the documentation site in docs/_build/html; warnings are errors, and every link within it is followed
docs: $(BIN)/.docs
	$(BIN)/python -m sphinx -q -W --keep-going -a -b html docs docs/_build/html
	$(BIN)/python docs/_ext/check_links.py docs/_build/html

# links to other sites, too; needs a network
linkcheck: $(BIN)/.docs
	$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/linkcheck

# time and memory beside the C recipes, in turn: tables and plot of docs/performance.md; the machine should be quiet
# (make bench BENCH=quick: under six minutes; usual: an hour; full: full exposures, a night; SECONDS: to stop earlier)
BENCH ?= usual
THREADS ?= 2

bench: SECONDS = 0
bench: $(BIN)/.demo
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python benchmarks/performance.py --level $(BENCH) --seconds $(SECONDS) --threads $(THREADS) $(BENCHFLAGS)

warm: $(BIN)/.demo
	$(BIN)/musetools warm

clean:
	rm -rf $(VENV) docs/_build docs/generated demo demo-twilight .pytest_cache .ruff_cache .mypy_cache
