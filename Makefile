# Two commands: `make run` and `make test`. Everything else is for those who work on Relance.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install run test demo bench lint servers clean

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Relance needs Python 3.11 or newer."; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: install
	@$(BIN)/relance run

test: install servers lint
	@$(BIN)/python -m pytest

demo: install
	@$(BIN)/python -m tests.demo

bench: install
	@$(BIN)/python -m benchmarks

lint: install
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary

# The real servers that the tests use: installed where that is possible, named where it is not.
servers:
	@sh tests/install_servers.sh

clean:
	rm -rf $(VENV) var build *.egg-info .mypy_cache .ruff_cache .pytest_cache
