# Two commands do everything on a bare Debian or Ubuntu: `make demo` and `make test`.

VENV ?= .venv
PYTHON ?= python3
DEMO_HOME ?= demo-home
# Three workers per default: CI has two cores, and a third of the time a test waits.
WORKERS ?= 3

BIN := $(VENV)/bin
# pip compiles on one core what it installs, a third of its time; compileall on all of them.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile -c constraints.txt
COMPILE := $(BIN)/python -m compileall -j 0
STAMP := $(VENV)/.evald-installed
PACKAGES := bubblewrap g++ python3-dev python3-venv util-linux
TEST_PACKAGES := postgresql
GUEST_PACKAGES := user-mode-linux kmod iproute2 e2fsprogs

.PHONY: help demo test test-thorough test-gpu test-guests check install system test-system guest-system chaos corpus docs constraints clean

help:
	@echo "make demo     judge the bundles in examples/ and print the table of verdicts"
	@echo "make test     check style, types and architecture, then run the test suite"
	@echo "make test-thorough  the same, and heavy tests of what a cheaper one holds as well"
	@echo "make test-gpu every kernel type on this host's GPU; skipped where there is none"
	@echo "make test-guests  limits by cgroup v2, power cuts, and an NFS share whose server reboots, in user-mode Linux (x86-64, root)"
	@echo "make check    style, types and architecture only"
	@echo "make install  the virtual environment in $(VENV), with evald in it"
	@echo "make chaos    kill daemons at every step and audit the books (BUNDLES, KILLS, DAEMONS, DB=sqlite|postgres)"
	@echo "make corpus   good, wrong, broken and hostile bundles on this host's GPU, or its CPU; about 6 minutes (ONLY=text)"
	@echo "make docs     regenerate the reference pages that come from the code"
	@echo "make clean    remove what these commands made"

# -- the machine ------------------------------------------------------------------------------------------------

# Debian packages are installed when we may; otherwise we say the line to type. $(1): packages, $(2): exit status without
# them.
define need_packages
	@command -v dpkg >/dev/null || exit 0; missing=""; \
	for package in $(1); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ]; then \
	  echo "installing system packages:$$missing"; \
	  { apt-get update -q >/dev/null && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing >/dev/null; } || exit $(2); \
	else \
	  echo "system packages are missing; type: sudo apt-get update && sudo apt-get install -y$$missing" >&2; exit $(2); \
	fi
endef

system:
	$(call need_packages,$(PACKAGES),1)

# Without Postgres its tests are skipped, and say so.
test-system: system
	$(call need_packages,$(TEST_PACKAGES),0)

guest-system: test-system
	$(call need_packages,$(GUEST_PACKAGES),$(if $(filter where-possible,$(GUESTS)),0,1))

$(STAMP): setup.cfg pyproject.toml constraints.txt | system
	$(PYTHON) -m venv $(VENV)
	$(PIP) -qq setuptools
	$(PIP) torch  # up to 3 GB: whoever waits for it sees it come
	$(PIP) -qq -e '.[dev]'
	@$(COMPILE) -qq $(VENV)/lib || true  # some packages hold files that are not for this Python
	@$(COMPILE) -q daemon migrations  # who may not write here would compile them at every start
	@touch $@

install: $(STAMP)

# -- the two commands -------------------------------------------------------------------------------------------

demo: $(STAMP)
	@rm -rf $(DEMO_HOME)
	@$(BIN)/python examples/demo.py $(DEMO_HOME)

SUITE = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test: check test-system
	$(SUITE) -m "not thorough" $(ARGS)

# Requests that are made up are others each time, and more.
test-thorough: check test-system
	EVALD_TEST_FUZZ=50 $(SUITE) $(ARGS)

# One process: the tests share one judge, and a GPU measures one thing at a time.
test-gpu: $(STAMP)
	$(BIN)/python -m pytest tests/gpu $(ARGS)

# Kernels of their own: limits by cgroup v2, power cuts, then a file server and two clients. Where none can be booted it
# fails, or with GUESTS=where-possible (CI) is skipped and says why.
GUESTS ?= required
test-guests: $(STAMP) guest-system
	EVALD_TEST_GUESTS=$(GUESTS) $(BIN)/python -m pytest -n 2 --dist loadfile tests/cgroups tests/power tests/nfs $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Daemons killed at every durable step; nothing may be lost or doubled.
BUNDLES ?= 500
KILLS ?= 200
DAEMONS ?= 3
DB ?= sqlite
chaos: $(STAMP)
	$(BIN)/python tests/chaos/chaos.py --bundles $(BUNDLES) --kills $(KILLS) --daemons $(DAEMONS) --db $(DB)

# -- the rest ---------------------------------------------------------------------------------------------------

# Every case must get its verdict, and no attack may look faster than the honest kernel beside it.
ONLY ?= /
corpus: $(STAMP)
	$(BIN)/python tests/corpus/corpus.py --only $(ONLY) $(ARGS)

docs: $(STAMP)
	$(BIN)/python -m daemon.cli.reference write docs/reference

constraints: $(STAMP)
	@$(BIN)/python -m pip freeze --exclude-editable

clean:
	rm -rf $(VENV) $(DEMO_HOME) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
