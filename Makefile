# `make demo` and `make test` need Python 3.11 or newer and nothing else.
PYTHON ?= python3
# May name an index that has PyTorch's much smaller CPU build, which pip then takes: see the README.
PIP_ARGS ?=
PHOTOS ?=
LIMIT ?=
OUT ?= gallery-demo

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Tests run in up to four processes of one thread each.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PARALLEL := -n logical --maxprocesses 4 --dist worksteal

.PHONY: help setup weights demo tools test quick check guide format clean

help:            ## what can be made
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/'

setup: weights   ## .venv with the pinned dependencies, and the weights

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off $(PIP_ARGS) \
	  -c constraints.txt -e '.[test]'
	@du -sh $(VENV)
	touch $@

weights: $(STAMP) ## the weights of the encoder mobilefacenet, kept in the user's cache folder
	@$(BIN)/gallery encoders --fetch mobilefacenet --yes \
	  || echo "Without these weights the encoder dlib-resnet is used, which finds fewer people"

demo: weights    ## the main job on real photos; PHOTOS=DIR LIMIT=N for your own
	$(BIN)/gallery demo $(if $(PHOTOS),"$(PHOTOS)") $(if $(LIMIT),--limit $(LIMIT)) --out "$(OUT)"

tools:           ## Debian's Chromium and strace, which some tests drive
	@{ command -v chromium && command -v strace; } \
	  || { apt-get -q update && apt-get -q install -y --no-install-recommends chromium strace; } \
	  || echo "Chromium and strace could not be installed (not root, or no Debian): their tests are skipped"

test: weights    ## all tests, in up to four processes
	$(ONE_THREAD) $(BIN)/python -m pytest $(PARALLEL)

quick: weights  ## the tests that need no network, server, browser or killed process
	$(ONE_THREAD) $(BIN)/python -m pytest $(PARALLEL) -m "not (networks or server or browser or faults)"

check: $(STAMP)  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

guide: $(STAMP)  ## the pages of the guide that are generated from the code
	$(BIN)/python -m tests.docs.generate

format: $(STAMP) ## format and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:           ## remove .venv and caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis
