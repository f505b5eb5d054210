# Every command of this project; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check format lint types contracts migrations bench wheel clean demo-model test-train

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
MODEL ?=

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@command -v c++ >/dev/null || { echo "A C++ compiler is needed to build llama.cpp: apt-get install g++" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# The engine is compiled from source the first time (about seven minutes on two
# cores); pip's cache serves it afterwards.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Installing Sallyport into $(VENV); the first time this compiles llama.cpp and takes minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing Sallyport with its checks into $(VENV); the first time this compiles llama.cpp."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo ## Play the whole story in a scratch folder (MODEL=/any/file.gguf for another model)
	@$(BIN)/python -m bundler.demo $(if $(MODEL),"$(MODEL)")

check: format lint types contracts migrations test ## Everything that must pass before a change lands

format: $(VENV)/.dev ## Is the code formatted
	$(BIN)/ruff format --check --quiet .

lint: $(VENV)/.dev ## ruff
	$(BIN)/ruff check --quiet .

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

contracts: $(VENV)/.dev ## Who may import whom
	$(BIN)/lint-imports

migrations: $(VENV)/.dev ## Do the migrations build exactly the tables of the code
	$(BIN)/python -m pytest -q tests/appliance/db

test: $(VENV)/.dev ## The test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not train"

test-slow: $(VENV)/.dev ## The tests that take minutes
	$(BIN)/python -m pytest -m "slow and not train"

$(VENV)/.train: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[train]"
	@touch $@

test-train: $(VENV)/.train ## The tests that need PyTorch
	$(BIN)/python -m pytest -m train

# One thread; each slice ends with all on disk that the next one needs.
demo-model: $(VENV)/.train ## Train the demo model again from its text, and ask it everything
	@while :; do $(BIN)/python -m bundler.demo.model train build/demo-model; \
		status=$$?; [ $$status = 75 ] || break; done; exit $$status
	$(BIN)/python -m bundler.demo.model export build/demo-model
	$(BIN)/python -m bundler.demo.model ask build/demo-model

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[bench]"
	@touch $@

bench: $(VENV)/.bench ## The benchmarks, as ratios measured in one run
	$(BIN)/python -m benchmarks

wheel: $(VENV)/.dev ## Build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## Remove the environment and everything built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
