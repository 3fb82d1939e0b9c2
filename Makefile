# Everything a person does here. `make` alone lists the targets.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
MLOPS  := $(BIN)/mlops
export VENV PYTHON

.DEFAULT_GOAL := help
.PHONY: help install demo up down status cluster cluster-down test pytest test-fast e2e lint format lock docs docs-serve mutants bench plan plan-snapshots test-pulumi clean

help: ## List these targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1mmake %-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Set up .venv with the locked packages
	@.ci/install environment

demo: ## Watch models go the whole way: trained, judged, released, watched, found wanting, replaced, rolled back, traced
	@.ci/install data
	@$(MLOPS) demo

up: install ## Start the embedded platform: origin, reconciler, one server per released model
	@$(MLOPS) up

down: install ## Stop the embedded platform, and the demo's
	@$(MLOPS) down
	@$(MLOPS) --home .mlops/demo down

status: install ## What is released, running and healthy
	@$(MLOPS) status

cluster: ## A Kubernetes cluster on this machine that Flux keeps as this working tree says (Docker, kind, kubectl, helm)
	@.ci/cluster up

cluster-down: ## Remove that cluster and its registry
	@.ci/cluster down

PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal -q
test: pytest test-pulumi ## Run all tests that need no cluster (COVERAGE=1 measures branches and holds them to the floor)

pytest: install
	@$(PYTEST) -m "not cluster" $(if $(COVERAGE),--cov --cov-report=term:skip-covered) $(TESTS)

test-fast: install ## Run the tests that take seconds
	@$(PYTEST) -m "not slow and not e2e and not cluster" $(TESTS)

e2e: install ## Roll models out on a real cluster: a kit's in ../shared/testcluster, or MLOPS_E2E_KUBECONFIG's
	@$(BIN)/python -m pytest -q -x -s -m cluster $(or $(E2E),tests/e2e)

lint: install ## Check style, types and YAML
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache
	@.ci/install pulumi
	@cd pulumi && .venv/bin/mypy
	@$(BIN)/yamllint --strict .
	@$(MLOPS) check

format: install ## Put the code into its form
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format -q .

# The command stands in the first lines of the locks, where Renovate reads it (it wants it in just this form).
LOCK := uv pip compile --universal --python-version=3.11 --generate-hashes --all-extras pyproject.toml \
  --output-file=requirements.lock
lock: install ## Resolve pyproject.toml into requirements.lock anew, here and in pulumi/
	@for folder in . pulumi; do (cd $$folder && UV_CUSTOM_COMPILE_COMMAND="$(LOCK)" $(abspath $(BIN))/$(LOCK) --quiet) \
	  || exit 1; done

docs: install ## Build the documentation's site into build/site; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

docs-serve: install ## Show the documentation's site while you write, at http://127.0.0.1:8000
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --strict

mutants: install ## Put small faults into gate, metrics, releases and triggers, and list those that no test notices (an hour)
	@$(BIN)/mutmut run --max-children 2 $(MUTANTS)
	@$(BIN)/mutmut results

bench: install ## Measure serving, rollouts and the framework's own cost, each against its baseline
	@for name in serving rollout steps recording images drift monitor page runs history; do $(BIN)/python -m tests.bench.bench_$$name || exit 1; done

plan: ## Show what a platform is made of: make plan CLOUD=gcp ENV=staging (FORMAT=json)
	@.ci/install pulumi >&2
	@cd pulumi && .venv/bin/python -m blueprint.plan --cloud $(or $(CLOUD),gcp) --env $(or $(ENV),staging) --format $(or $(FORMAT),tree)

plan-snapshots: ## Rewrite the plans that pull requests show, for every stack
	@.ci/install pulumi
	@cd pulumi && .venv/bin/python -m blueprint.snapshots

test-pulumi: ## Test the clouds: contract, policies, plans
	@.ci/install pulumi
	@cd pulumi && .venv/bin/python -m pytest -q

clean: ## Remove what was built and the embedded platform's state (stops it first)
	@if [ -x $(MLOPS) ]; then $(MLOPS) down; $(MLOPS) --home .mlops/demo down; fi
	rm -rf .mlops build *.egg-info .pytest_cache .mypy_cache .ruff_cache pulumi/.pytest_cache pulumi/.mypy_cache
