# Two commands: `make run` starts a room on this machine, `make test` runs the tests.
# Both set up what they need in .venv, from the names in pyproject.toml and the versions in constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: run test test-quick lint types format bench browser clean

run: .venv/run
	$(BIN)/liveroom serve --dev

test: .venv/test browser
	$(BIN)/python -m pytest

# Without what starts browsers, crowds and crashes: under a minute.
test-quick: .venv/test
	$(BIN)/python -m pytest -m "not slow"

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/test
	cd src && ../$(BIN)/mypy --strict -p liveroom.server -p liveroom.protocol -p liveroom.loadtest

format: .venv/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/test
	$(BIN)/python -m liveroom.loadtest.bench

# The browser tests need Chromium and are skipped, and counted as skipped, without it.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo "the browser tests need Chromium: install Debian's package 'chromium'"; fi

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "liveroom needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/run: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e .
	@touch $@

.venv/test: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[test]'
	@touch $@ .venv/run

clean:
	rm -rf .venv build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
