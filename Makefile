# Two commands do everything on a fresh machine with Python 3 and make: `make demo`, `make test`.

# The first of these that is a Python 3.11 to 3.13; `make PYTHON=python3.12 demo` chooses another.
PYTHON := $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c \
	'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) and print("$(p)")' 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
# The lock files are whole; what pip calls a conflict is what the Object Detection API asks for in
# requirements-odapi.txt and does not need.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-conflicts
# Where base weights are kept; several checkouts share one.
export DUCKDETECT_CACHE ?= $(HOME)/.cache/duckdetect
export TF_CPP_MIN_LOG_LEVEL ?= 3

# Processes that run the tests; each takes up to 3 GB.
WORKERS ?= 2

.PHONY: demo test test-colab check format bench lock audit sbom clean setup setup-dev

demo: setup  ## Train on the five sample pictures, evaluate, write frames and a GIF to results/demo.
	$(BIN)/duckdetect demo

test: setup-dev  ## Formatter, linter, types, then the tests.
	$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: setup-dev  ## Formatter, linter and types.
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy

format: setup-dev  ## Let the formatter and the linter fix what they can.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-colab:  ## The tests on Colab's own versions (Python 3.13), in a debootstrap folder; needs root.
	bash tools/test_colab.sh

bench: setup-dev  ## Speed ratios, as JSON in results/bench.
	$(BIN)/python benchmarks/finetune.py
	$(BIN)/python benchmarks/detect.py
	$(BIN)/python benchmarks/evaluate.py
	$(BIN)/python benchmarks/mask_rcnn.py
	$(BIN)/python benchmarks/masks.py --seeds 0 --sets ducks
	$(BIN)/python benchmarks/validation.py
	$(BIN)/python benchmarks/scale.py --sizes 100 1000
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/bulk.py

lock: setup-dev  ## Renew the lock files.
	$(PIP) uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url requirements.txt -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --constraint requirements.lock requirements-dev.txt -o requirements-dev.lock
	$(BIN)/python tools/third_party.py

audit:  ## Ask the advisory data bases for known faults of the locked packages; needs a network.
	@$(PYTHON) -m venv .audit
	@.audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit \
		|| { echo "pip-audit cannot be installed (no network?): run make audit where there is one"; exit 2; }
	.audit/bin/pip-audit --disable-pip --require-hashes -r requirements.lock
	.audit/bin/pip-audit --disable-pip --require-hashes -r requirements-odapi.txt

sbom: setup  ## A CycloneDX bill of materials of the locked packages in results/sbom.json.
	$(BIN)/python tools/third_party.py --sbom results/sbom.json

clean:  ## Remove what set-up made; the weights' cache and results stay.
	rm -rf $(VENV) .colab .audit *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.lock requirements-odapi.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found: install one, or run make PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"; exit 2; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version): a minute or two, once."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --require-hashes --no-deps -r requirements-odapi.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@
