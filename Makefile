# Each target does its own set-up on a machine that has Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# A file's tests share their nodes and wait for them: more files at once than cores, the longest first.
LONG_FILES := tests/tui/ tests/e2e/ tests/attacks/
OTHER_TESTS := $(filter-out $(LONG_FILES) tests/protocol/ tests/__pycache__/,$(wildcard tests/*/ tests/test_*.py))

.PHONY: help demo test check format lint types imports bench screenshots lock clean

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Safelight needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP) ## the main job, for real, on this machine (FOLDER=your/pictures)
	@$(BIN)/safelight demo $(FOLDER)

test: $(STAMP) ## every test; those of protocol/ alone run every branch of it
	$(BIN)/python -m pytest --cov --cov-fail-under=100 -n 2 tests/protocol
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(LONG_FILES) $(OTHER_TESTS)

check: format lint types imports test ## everything that must pass

format: $(STAMP)
	$(BIN)/ruff format --check .

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

bench: $(STAMP) ## the budgets, measured
	$(BIN)/python -m tests.bench

screenshots: $(STAMP) ## draw the pictures of the documents anew
	$(BIN)/python -m tests.make_demo_picture
	$(BIN)/python -m tests.make_watermark_sheet
	$(BIN)/python -m tests.make_screenshots

lock: ## resolve requirements.lock anew
	$(BIN)/python -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras --extra dev \
	  --no-emit-index-url --no-emit-trusted-host --output-file requirements.lock pyproject.toml

clean: ## remove what make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* build *.egg-info
