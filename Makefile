# The two to know: make demo, make test. Everything is installed into .venv and nothing outside of it.
#
#   make install   .venv with the fallback-mx program in it
#   make demo      the story of an outage, with real sockets, in under a minute
#   make run       the service on 127.0.0.1:2525 and http://127.0.0.1:8025, data under ./var
#   make test      every test that needs no Debian package and no root
#   make check     lint, format, types, architecture
#   make peers     the tests with real mail servers and a real browser (Debian packages; names those that are missing)
#   make bench     this relay and Postfix side by side (BENCH_SHORT=1 for a short run, BENCH="--only idle", "--million")
#   make fuzz      coverage-guided fuzzing, FUZZ_SECONDS (60) in all (Linux on x86-64; make test asks the same elsewhere)
#   make man       the manual pages, in build/man
#   make dist      the wheel, in dist/, with the manual pages
#   make lock      constraints.txt anew, from the newest releases that pyproject.toml allows
#
# Another Python than python3: make PYTHON=python3.12 install

PYTHON ?= python3
# Where it is set every start of the program compiles it anew: half of what the tests take.
unexport PYTHONDONTWRITEBYTECODE
PIP_VERSION := 26.3
BIN := .venv/bin
# Debian packages: those that are to be installed, and those that exclude Postfix and are to be unpacked.
PEERS := postfix swaks chromium
UNPACKED_PEERS := exim4-daemon-light opensmtpd
FUZZ_SECONDS ?= 60

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install demo run test check peers bench fuzz man dist lock python

install: .venv/installed

# One file says that everything below it was done. An interrupted install leaves no such file and is begun again.
.venv/installed: pyproject.toml constraints.txt Makefile
	@$(MAKE) --no-print-directory python
	@rm -f $@
	@$(BIN)/python -c "" 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet pip==$(PIP_VERSION)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable .
	@touch $@

python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON) here. Fallback MX needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Fallback MX needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "Name another one: make PYTHON=python3.12" >&2; exit 1; }

demo: install
	$(BIN)/fallback-mx demo

run: install
	@mkdir -p var
	FALLBACK_MX_LISTEN=127.0.0.1:2525 FALLBACK_MX_HTTP=127.0.0.1:8025 FALLBACK_MX_STORAGE=sqlite:///var/queue.db \
	  $(BIN)/fallback-mx serve --config deploy/fallback-mx.toml

# Several at a time: most of them wait for something.
test: install
	$(BIN)/python -m pytest -n 4 --dist worksteal --ignore=tests/peers --ignore=tests/bench

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

peers: install
	@missing=""; for package in $(PEERS); do \
	  PATH="$$PATH:/usr/sbin" command -v $$package >/dev/null || missing="$$missing $$package"; done; \
	perl -MNet::SSLeay -e1 2>/dev/null || missing="$$missing libnet-ssleay-perl"; \
	if [ -n "$$missing" ]; then \
	  echo "Debian packages that are missing:$$missing (their tests are skipped; apt-get install$$missing)"; fi
	@missing=""; for package in $(UNPACKED_PEERS); do [ -d .peers/$$package ] || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ]; then \
	  echo "Mail servers that are missing in .peers:$$missing (their tests are skipped; .ci/unpack-peers$$missing)"; fi
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group browser
	$(BIN)/python -m pytest tests/peers

bench: install
	$(BIN)/python -m tests.bench $(BENCH)

fuzz: install
	$(BIN)/python -m pip install --quiet --group fuzz
	$(BIN)/python -m tests.fuzz all $(FUZZ_SECONDS)

man: install
	$(BIN)/python -m fallback_mx.cli.manual build/man
	@echo "To read one: man -l build/man/fallback-mx.1"

dist: man
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

# The oldest Python that we promise decides, since what runs there runs on the newer ones.
lock: python
	@set -e; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch/venv"; pip="$$scratch/venv/bin/python -m pip"; \
	$$pip install --quiet pip==$(PIP_VERSION); \
	$$pip install --quiet --group dev; \
	$$pip install --quiet --no-build-isolation .; \
	{ echo "# Every package of .venv, pinned. Written by make lock; do not edit."; \
	  $$pip freeze --exclude fallback-mx --exclude pip; } > "$$scratch/constraints.txt"; \
	mv "$$scratch/constraints.txt" constraints.txt
