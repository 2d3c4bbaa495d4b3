# Everything a person types here. The virtual environment is made on first use; nothing else needs to be installed.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# pytest-xdist workers; 2 suits the smallest machines.
JOBS   ?= 2

.PHONY: run cluster test lint unit e2e sim robustness fuzz differential bench codegen clean help

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.run: pyproject.toml
	@echo "==> Preparing $(VENV) (first time only)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -e .
	@touch $@

$(VENV)/.dev: pyproject.toml
	@echo "==> Preparing $(VENV) with the test tools (first time only)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -e '.[dev]'
	@touch $@ $(VENV)/.run

run: $(VENV)/.run ## start mini-apiserver (ARGS="--secure-port 7443" passes flags on)
	@exec $(BIN)/mini-apiserver $(ARGS)

cluster: $(VENV)/.run ## start three members and an API server (ARGS="--api-servers 3": three servers that are both)
	@exec $(BIN)/python hack/local_up.py $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: $(VENV)/.dev ## the fast tests only
	$(BIN)/python -m pytest -n $(JOBS) -m "not e2e" tests

e2e: $(VENV)/.dev ## real kubectl and client libraries against real processes
	$(BIN)/python -m pytest -m e2e tests

test: lint ## every check and every test
	$(BIN)/python -m pytest -n $(JOBS) tests

sim: $(VENV)/.dev ## more histories of the cluster simulator (SEEDS=10000 FIRST=1), or one told in full (SEED=42)
	@$(BIN)/python -m tests.sim.run $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),10000) --first $(or $(FIRST),1))

robustness: $(VENV)/.dev ## clusters of processes under faults and load (SECONDS=600 SEED=1 MEMBERS=3)
	$(BIN)/python -m tests.robustness.run --seconds $(or $(SECONDS),600) --seed $(or $(SEED),1) --members $(or $(MEMBERS),3)

differential: $(VENV)/.dev ## more random histories on mini-etcd and etcd, compared (EXAMPLES=100000)
	EXAMPLES=$(or $(EXAMPLES),100000) $(BIN)/python -m pytest -q -s tests/model/differential

fuzz: $(VENV)/.dev ## more of what clients of the store may send (FUZZ_EXAMPLES=10000)
	FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),10000) $(BIN)/python -m pytest -q --timeout 0 \
		tests/unit/kvstore/front tests/integration/kvstore_front/test_fuzz.py

bench: $(VENV)/.dev ## the figures of docs/performance.md, measured here and now
	$(BIN)/python hack/bench/run.py $(ARGS)

codegen: $(VENV)/.dev ## make generated code again
	$(BIN)/python hack/update_codegen.py

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
