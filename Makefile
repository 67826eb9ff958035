# One command each. `make help` lists them. PYTHON=/path/to/python3.12 chooses the interpreter of a new environment.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
TRL_VENV ?= .venv-trl
VLLM_VENV ?= .venv-vllm
VERL_VENV ?= .venv-verl
VERL_READY := import ensurepip, sys, venv; sys.version_info[:2] in ((3, 11), (3, 12)) and print(sys.executable)
VERL_PYTHON ?= $(firstword $(shell for p in python3 python3.12 python3.11; do $$p -c '$(VERL_READY)' 2>/dev/null; done))
# Rooms whose branches are counted, and the tests that have to reach them: counting would slow all the others down.
CAREFUL := objectives config records
THEIRS := $(CAREFUL:%=tests/%) tests/curate
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help venv demo demo-seeds test test-trl test-vllm test-verl verl-python chaos check format bench bench-trl clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: $(STAMP)  ## create .venv and install gppo with what development needs

# torch first: the constraint decides its build before anything else can pull one in.
$(STAMP): pyproject.toml constraints/core.txt
	@$(if $(PYTHON),:,echo "gppo needs Python 3.11 or newer and none was found; install one, or: make venv PYTHON=/path/to/python3" >&2; exit 2)
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "$(PYTHON) is no Python 3.11 or newer; choose another: make venv PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q -c constraints/core.txt torch
	$(BIN)/pip install --disable-pip-version-check -q -c constraints/core.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## the whole pipeline, offline, in minutes; prints where the report is
	$(BIN)/gppo demo

demo-seeds: $(STAMP)  ## the demo over seeds 0-2, with means and standard errors
	$(BIN)/gppo demo --seeds 3

test: $(STAMP)  ## all tests; objectives, config and records covered to 95 % of their branches
	$(BIN)/pytest $(SIDE_BY_SIDE) $(CAREFUL:%=--cov=gppo.%) --cov-report= $(THEIRS)
	$(BIN)/coverage report --show-missing --skip-covered --fail-under=95
	$(BIN)/pytest $(SIDE_BY_SIDE) $(THEIRS:%=--ignore=%)

test-trl: $(TRL_VENV)/.installed  ## the TRL bridge inside the real TRL; makes .venv-trl for it
	$(TRL_VENV)/bin/pytest tests/engines/trl

test-vllm: $(STAMP)  ## what talks to vLLM, against its real server on this CPU; makes .venv-vllm for it
	@if $(MAKE) --no-print-directory $(VLLM_VENV)/.installed; then \
		GPPO_VLLM_PYTHON=$(CURDIR)/$(VLLM_VENV)/bin/python $(BIN)/pytest tests/engines/vllm -rs; \
	else echo "test-vllm skipped: the packages of constraints/vllm.txt cannot be installed here; the reason is above"; fi

test-verl: $(VERL_VENV)/.installed  ## the verl bridge inside the real verl on a local Ray; makes .venv-verl for it
	$(VERL_VENV)/bin/pytest tests/engines/verl tests/bridges --timeout 900 -p no:asyncio

verl-python:  # which Python test-verl would take; an empty line where there is none
	@echo $(VERL_PYTHON)

chaos: $(STAMP)  ## 70 kill -9 on RL, SFT, evaluation and verify; each must end like the undisturbed run
	GPPO_CHAOS=full timeout 900 $(BIN)/pytest tests/chaos -s --timeout 800

check: $(STAMP)  ## style, types, layers, and whether every shipped recipe parses
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/config

format: $(STAMP)  ## rewrite the files in the house style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP)  ## decoding beside its floor and generate(); how a step grows
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/growth.py

bench-trl: $(TRL_VENV)/.installed  ## a whole RL step beside TRL's; makes .venv-trl for it
	$(TRL_VENV)/bin/python benchmarks/rl_step.py

$(TRL_VENV)/.installed: pyproject.toml constraints/core.txt constraints/trl.txt
	$(PYTHON) -m venv $(TRL_VENV)
	$(TRL_VENV)/bin/pip install --disable-pip-version-check -q -c constraints/core.txt torch
	$(TRL_VENV)/bin/pip install --disable-pip-version-check -q -c constraints/core.txt -c constraints/trl.txt -e '.[trl,lora]' \
		pytest pytest-timeout hypothesis
	@touch $@

# torch first, its CPU build; the rest is a complete list, because vLLM's own asks for much that serving text does not need.
$(VLLM_VENV)/.installed: constraints/vllm.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/pip install --disable-pip-version-check -q -c constraints/vllm.txt torch
	$(VLLM_VENV)/bin/pip install --disable-pip-version-check -q --no-deps -r constraints/vllm.txt
	@touch $@

$(VERL_VENV)/.installed: pyproject.toml constraints/core.txt constraints/verl.txt
	@$(if $(VERL_PYTHON),:,echo "verl needs Python 3.11 or 3.12 with its venv module and none was found; choose one: make test-verl VERL_PYTHON=/path/to/python3.12" >&2; exit 2)
	$(VERL_PYTHON) -m venv $(VERL_VENV)
	$(VERL_VENV)/bin/pip install --disable-pip-version-check -q -c constraints/core.txt torch
	$(VERL_VENV)/bin/pip install --disable-pip-version-check -q -c constraints/verl.txt -e '.[verl]' \
		pytest pytest-timeout hypothesis psutil
	@touch $@

clean:  ## remove the environment and everything that tools wrote; runs/ stays
	rm -rf $(VENV) $(TRL_VENV) $(VLLM_VENV) $(VERL_VENV) build dist .coverage .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
