# `make` alone lists the targets. `make test` needs nothing but make and Python 3.11 or newer.

PYTHON ?= python3
JOBS   ?= 2
VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python
READY  := $(VENV)/.ready
AS_ROOT_ON_DEBIAN = [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null
APT_INSTALL = apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends

.DEFAULT_GOAL := help
.PHONY: help venv system demo test test-unit test-kernel conformance bench lint fmt golden wheel clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
	  printf '  %-14s %s\n' "$$name" "$$text"; done

venv: $(READY) ## make .venv with the package (editable) and all that the tests and linters need

$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { [ $(PYTHON) = python3 ] && $(AS_ROOT_ON_DEBIAN) && $(APT_INSTALL) python3 python3-venv; } || { \
	  echo "make: $(PYTHON) is not here; install Python 3.11 or newer, or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1); 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(AS_ROOT_ON_DEBIAN) && $(APT_INSTALL) python3-venv; } || { \
	  echo "make: $(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,dev]'
	@touch $@

system: ## install what the kernel tests need (as root on Debian; elsewhere say what will be skipped)
	@if command -v nft >/dev/null && command -v iptables-restore >/dev/null && command -v ip >/dev/null; then :; \
	elif $(AS_ROOT_ON_DEBIAN); then ($(APT_INSTALL) nftables iptables iproute2 kmod) || echo "make: apt-get failed" >&2; fi
	@for tool in nft iptables-restore ip; do command -v $$tool >/dev/null || \
	  echo "make: $$tool is not here (root on Debian would install it): the tests that need it will be skipped" >&2; done
	@[ "$$(id -u)" = 0 ] || echo "make: not root: kernel tests that need root will be skipped" >&2

demo: venv system ## the whole story: parse, lint, prove, compile, load into the kernel and probe with packets
	$(PY) rulesets/demo.py

test: venv system ## every test; sets everything up by itself
	$(PY) -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

test-unit: venv ## the tests that need no kernel
	$(PY) -m pytest -n $(JOBS) --dist loadgroup -m 'not kernel' $(ARGS)

test-kernel: venv system ## only the tests that ask the real kernel
	$(PY) -m pytest -m kernel $(ARGS)

conformance: venv system ## compare with nft over its own rule tests and over real rulesets
	$(PY) -m tests.corpus.conformance $(ARGS)

bench: venv ## measure, and compare with the budgets
	$(PY) -m tests.bench.run $(ARGS)

lint: venv ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fmt: venv ## format the code and apply the safe fixes
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

golden: venv ## write the golden files anew; read the difference before you commit it
	$(PY) -m pytest tests/golden --update-golden -q $(ARGS)

wheel: venv ## build sdist and wheel into dist/
	$(PY) -m build --no-isolation

clean: ## remove what was built, .venv included
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find compiler tests rulesets -name __pycache__ -type d -prune -exec rm -rf {} +
