# The one vocabulary of this repository: people, pre-commit, .ci/run and the workflows call these targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Steps follow one another, even under -j: two installations into one folder would not mix.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

MODEL ?= flights
# Who asks for a promotion; the ledger keeps it.
ACTOR ?= $(shell id -un)
# A date such as 2013-05-01: only labels that had arrived by then count. Empty: the one in params.yaml.
AS_OF ?=
GATE ?=
# The bundle that a person approved, as `make digest` prints it.
DIGEST ?=
# MODEL@VERSION or MODEL@ALIAS of what `make reproduce` builds again (empty: the champion of MODEL), and of what
# `make image` makes the image (empty: MODEL is trained, qualified and registered first).
VERSION ?=
# What `make explain` walks through: an id of a held-out row, or a JSON file with a request. Empty: some row.
ROW ?=
# The tables that `make score` answers (a Parquet file, a folder or a glob), and the folder of the answers.
INPUT ?=
OUTPUT ?=
# Further words for the command, for example: make test-unit ARGS="-k ledger -x"
ARGS ?=
# Recipes read these as "$$MODEL": a value that comes from outside is an argument, never shell code.
export MODEL ACTOR AS_OF GATE DIGEST VERSION ROW INPUT OUTPUT

# Installed by pip into .uv/ only where no uv is on the PATH.
UV_VERSION := 0.13.9
OLDEST_PYTHON := 3.11
# The first interpreter that is new enough; `make PYTHON=/path/to/python3 …` names another one.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < tuple(map(int, "$(OLDEST_PYTHON)".split("."))))' \
	2>/dev/null && { command -v "$$name"; break; }; done)

export PATH := $(CURDIR)/.uv/bin:$(PATH)
# Never an interpreter from the internet: what is on the machine is used.
export UV_PYTHON_DOWNLOADS := never
# Nothing here phones home.
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export BENTOML_DO_NOT_TRACK := True
export ORT_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
# Without it one competing process makes OpenMP's spinning threads take minutes.
export OMP_WAIT_POLICY := PASSIVE
# DVC starts in 1 s with byte code and in 6 s without, so a machine-wide "write none" is not passed on.
unexport PYTHONDONTWRITEBYTECODE
# Another active environment must not be mistaken for this project's.
unexport VIRTUAL_ENV
unexport UV_PROJECT_ENVIRONMENT

RUN := exec .venv/bin/python -m
PYTEST := .venv/bin/python -m pytest
# At the end, what took longest: whoever adds a test sees what it costs.
LONGEST := --durations 20 --durations-min 5

.PHONY: help setup demo up down test test-unit test-features test-browser test-slow gates gate repro train register \
	retrain challenger image staging digest approved production monitor score summary dispatch backtest bench bench-serving peers \
	tune reproduce explain check hooks required clean uv

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo "  MODEL=flights (or iris), AS_OF=2013-05-01 and ARGS=\"-k word\" narrow a target down."

setup: .venv/.stamp .venv-serving/.stamp ## Make the two environments, .venv and .venv-serving, from uv.lock

demo: setup ## The whole loop: train, register, stage, promote, watch, retrain, roll back
	@$(RUN) pipelines.demo $(ARGS)

up: setup ## Start MLflow, staging, production and what carries out promotions; print links
	@$(RUN) pipelines.local up

down: setup ## Stop what `make up` started
	@$(RUN) pipelines.local down

test: setup ## Every test but the slow ones, the fastest first
	@$(PYTEST) -n 2 -m "unit and not slow" $(ARGS)
	@exec $(PYTEST) -n 2 --dist loadfile $(LONGEST) -m "not unit and not slow" $(ARGS)

test-unit: setup ## The tests that need no process: under a minute
	@exec $(PYTEST) -n 2 -m "unit and not slow" $(ARGS)

# The feature-engineering logic alone, as CI shows it.
test-features: setup
	@exec $(PYTEST) tests/training -k "feature" -m "not slow" $(ARGS)

# What a person sees in MLflow's pages, as CI shows it; pictures are left in var/screenshots/.
test-browser: setup
	@exec $(PYTEST) -m browser $(ARGS)

# What measures the machine runs alone, after all else.
test-slow: setup ## The long suites
	@$(PYTEST) -n 2 --dist loadfile $(LONGEST) -m "slow and not alone" $(ARGS)
	@exec $(PYTEST) -m "slow and alone" $(ARGS)

# A table that shows a failure does not keep the run by name from being seen, and fails the target all the same.
gates: setup ## Every gate of a real training run: a table, then each by name; one alone: make gate GATE=G03
	@.venv/bin/python -m pipelines.build
	@code=0; .venv/bin/python -m pipelines.gates || code=$$?; \
		$(PYTEST) tests/gates/test_real_run.py -v $(ARGS) || code=$$?; exit $$code

gate: setup
	@[[ "$$GATE" =~ ^G[0-9][0-9]$$ ]] || { echo "error: GATE is '$$GATE'; expected a code of policy.yaml such as G03. Run: make gate GATE=G03." >&2; exit 2; }
	@exec $(PYTEST) tests/gates -v -k "$$GATE" $(ARGS)

repro: setup ## Rebuild exactly what changed, for every model
	@$(RUN) pipelines.build $(ARGS)

train: setup ## Rebuild one model, from ingest to its bundle
	@.venv/bin/python -m pipelines.build "$$MODEL" $(ARGS)

register: train ## Track, qualify and register what `make train` built
	@.venv/bin/python -m pipelines.track "$$MODEL"
	@.venv/bin/python -m pipelines.qualify "$$MODEL"
	@$(RUN) pipelines.register "$$MODEL"

retrain: setup ## Train a challenger as of AS_OF and register it if it earns it
	@$(RUN) pipelines.retrain "$$MODEL" $${AS_OF:+--as-of "$$AS_OF"} $(ARGS)

# What delivery starts from: a non-empty AS_OF asks for a run of its own; `value` looks at it without expanding it.
# make turns every failing recipe into exit code 2, so that the champion stays is an output here and not a code.
challenger: $(if $(value AS_OF),setup,train)
	@$(RUN) pipelines.challenger "$$MODEL" $${AS_OF:+--as-of "$$AS_OF"} $(ARGS)

image: $(if $(value VERSION),setup,challenger) ## Train and register MODEL, and make its tested container image; or that of VERSION=iris@2
	@$(RUN) pipelines.image "$${VERSION:-$$MODEL@challenger}" $(ARGS)

staging: setup ## Deploy the challenger to staging and test it there
	@$(RUN) pipelines.deploy staging "$$MODEL" $(ARGS)

# The digest of what staging has tested: what a person approves.
digest: setup
	@$(RUN) pipelines.digest "$$MODEL" $(ARGS)

# Refuses where that is not DIGEST: between approving and promoting, another bundle may have been staged.
approved: setup
	@$(RUN) pipelines.digest "$$MODEL" "--expect=$$DIGEST" $(ARGS)

production: setup ## Promote what staging has tested and deploy it to production
	@$(RUN) pipelines.promote "$$MODEL" --actor "$$ACTOR" $(ARGS)

monitor: setup ## Check health, drift and performance, and decide on retraining
	@$(RUN) pipelines.monitor "$$MODEL" $${AS_OF:+--as-of "$$AS_OF"} $(ARGS)

# What it decided, or that there was nothing to check, for whoever looks at a workflow's run.
summary: setup
	@$(RUN) pipelines.summary "$$MODEL" $(ARGS)

# Asks GitHub to retrain, where the last `make monitor` decided so.
dispatch: setup
	@$(RUN) pipelines.dispatch "$$MODEL" $(ARGS)

score: setup ## Batch prediction: answer the tables of INPUT that are new, into OUTPUT
	@$(RUN) pipelines.score "$$MODEL" --input "$$INPUT" --output "$${OUTPUT:?is to name a folder}" $(ARGS)

# Every model, unless MODEL was given: only then is it no longer the one of this file.
backtest: setup ## Train as of each month of 2013: gates, and what retraining is worth
	@$(RUN) pipelines.backtest $(if $(filter-out file,$(origin MODEL)),--model "$$MODEL") $(ARGS)

bench: setup ## How long builds, inference and features take, beside a fixed loop
	@$(RUN) benchmarks $(ARGS)

# Each is a command of its own with further options: .venv/bin/python -m benchmarks.serving.steady --help
bench-serving: setup peers ## The service under load, beside an echo, stock BentoML and peers
	@for part in serving serving.start serving.steady serving.sweep serving.cost rows batches scoring; do \
		.venv/bin/python -m "benchmarks.$$part" $(ARGS); done

# An environment for each, since they ask for versions that exclude each other.
peers: uv
	@for peer in benchmarks/peers/*/; do \
		echo "installing $$peer …"; \
		UV_PROJECT_ENVIRONMENT="$(CURDIR)/var/peers/$$(basename "$$peer")" \
			uv sync --quiet --frozen --compile-bytecode --python "$(PYTHON)" --project "$$peer"; done

tune: setup ## Search hyperparameters of MODEL; interrupted, it continues; ARGS=--write keeps the best
	@.venv/bin/python -m pipelines.build "$$MODEL"
	@$(RUN) pipelines.tune "$$MODEL" $(ARGS)

reproduce: setup ## Build VERSION=flights@3 again from its lineage and say whether it is the same
	@$(RUN) pipelines.reproduce "$${VERSION:-$$MODEL@champion}" $(ARGS)

explain: setup ## Walk ROW=2013-03-20/UA/1545/EWR (or any) through every step, raw to answer
	@$(RUN) pipelines.explain "$$MODEL" $${ROW:+"$$ROW"} $(if $(value ROW),,--random 1) $(ARGS)

check: setup uv ## What pre-commit runs: style, types, workflows, shell scripts, Dockerfiles, the lock file
	@exec .venv/bin/pre-commit run --all-files $(ARGS)

# `make check` before every commit, by git itself.
hooks: setup
	@exec .venv/bin/pre-commit install

# The last job of CI: branch protection names it, and it is green only if every other job was.
required:
	@[[ -n "$(strip $(RESULTS))" && -z "$(filter-out success,$(RESULTS))" ]] \
		|| { echo "error: the jobs ended with '$(RESULTS)'; expected only success. Open the jobs that did not succeed." >&2; exit 1; }

clean: ## Stop everything and remove what was built; the environments stay
	@[[ ! -e .venv/.stamp ]] || .venv/bin/python -m pipelines.local down
	@rm -rf artifacts var .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@git worktree prune
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

# A stamp is touched last: an interrupted installation is simply continued by the next call.
.venv/.stamp: uv.lock pyproject.toml
	@$(MAKE) uv
	@echo "installing .venv (everything) …"
	@[[ -x .venv/bin/python ]] || uv venv --quiet --python "$(PYTHON)" .venv
	@uv sync --quiet --frozen --compile-bytecode
	@touch $@

.venv-serving/.stamp: uv.lock pyproject.toml
	@$(MAKE) uv
	@echo "installing .venv-serving (what a server needs, and no training library) …"
	@[[ -x .venv-serving/bin/python ]] || uv venv --quiet --python "$(PYTHON)" .venv-serving
	@UV_PROJECT_ENVIRONMENT=.venv-serving uv sync --quiet --frozen --compile-bytecode --only-group serving
	@touch $@

# Only asked for when something is to be installed or checked.
uv:
	@[[ -n "$(PYTHON)" ]] || { echo "error: no python3 on the PATH is $(OLDEST_PYTHON) or newer; expected one. Install it, or name it: make PYTHON=/path/to/python3 setup." >&2; exit 1; }
	@command -v uv >/dev/null || { \
		echo "installing uv $(UV_VERSION) into .uv …"; \
		"$(PYTHON)" -m venv .uv || { echo "error: $(PYTHON) cannot make a virtual environment; expected its venv module. Install it (Debian package: python3-venv)." >&2; exit 1; }; \
		.uv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"; }
