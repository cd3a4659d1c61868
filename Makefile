# Two set-up commands: `make demo` (a first cube and a picture of it) and `make test`.
# Each makes its own virtual environment if there is none.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export MPLBACKEND := Agg

.PHONY: demo demo-twilight test lint warm clean

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

test: $(BIN)/.test
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadfile $(TESTFLAGS)

lint: $(BIN)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

warm: $(BIN)/.demo
	$(BIN)/musetools warm

clean:
	rm -rf $(VENV) demo demo-twilight .pytest_cache .ruff_cache .mypy_cache
