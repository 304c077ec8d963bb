# make run: the app on http://localhost:7860.  make test: lint, format check and all tests.
# Both set up .venv first, and skip that when what they need has not changed. What that is stands in pyproject.toml,
# the releases in requirements.txt. They bring the command $(BIN)/redistill too, which runs the code of this folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/pip install -q --disable-pip-version-check -c requirements.txt
# Exports to it need of all that its wheel asks for only ruamel.yaml besides what is here, and an older pytest would
# break the tests; 150 MB. Where no wheel of it fits, its tests are skipped.
EXECUTORCH := executorch==1.2.0
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)
APT_INSTALL := $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq

.PHONY: run test lint format browser compiler

run: $(VENV)/.run-ready
	@echo "Starting ReDistill Studio on http://localhost:7860 (stop with Ctrl-C)"
	$(BIN)/python app.py

# Tests start programs of this folder again and again: what they compile is kept, also where Python is told not to.
test: $(VENV)/.test-ready browser compiler
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.test-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), f"Python 3.11 or newer is needed, {sys.version.split()[0]} was found; set PYTHON=/path/to/python3.11"'
	@echo "Creating $(VENV)"
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Installing python3-venv"; $(APT_INSTALL) python3-venv >/dev/null; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) -m venv failed" >&2; exit 1; }

$(VENV)/.run-ready: pyproject.toml requirements.txt | $(VENV)/bin/python
	@echo "Installing the app's packages, about 5 GB with torch (a few minutes, once)"
	$(PIP_INSTALL) -e '.[app]'
	@touch $@

$(VENV)/.test-ready: pyproject.toml requirements.txt | $(VENV)/.run-ready
	@echo "Installing what the tests need"
	$(PIP_INSTALL) -e '.[app,test]'
	$(PIP_INSTALL) --no-deps '$(EXECUTORCH)' ruamel.yaml==0.19.1 || echo "No wheel of $(EXECUTORCH) for this system; its tests are skipped"
	@touch $@

# The browser tests drive Debian's Chromium.
browser:
	@command -v chromium >/dev/null || { echo "Installing Chromium for the browser tests"; $(APT_INSTALL) chromium >/dev/null; }

# Exports to C are compiled; so is what counts onnxruntime's heap.
compiler:
	@command -v cc >/dev/null || { echo "Installing gcc for the tests of exports"; $(APT_INSTALL) gcc libc6-dev >/dev/null; }
