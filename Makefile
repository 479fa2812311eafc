# The one entry point. Needs python3 >= 3.11, pip and make; everything else is installed here.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
ATHERIS := .cache/fuzz/site
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test test-slow lint types imports format bench bench-format bench-quantization bench-serving onnx-backend crash faults soak hostile hostile-models fuzz recording docs lock clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/' | expand -t 22

setup: $(READY) ## Make the virtual environment with the locked dependencies

$(READY): requirements.lock pyproject.toml scripts/setup.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" bash scripts/setup.sh
	@touch $@

demo: $(READY) ## Take a real model the whole way: package, verify, deploy, swap and roll back under load
	$(BIN)/python examples/demo.py

test: $(READY) ## Run the tests in two processes (PYTEST_ARGS="-n 0 …": in one)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal $(PYTEST_ARGS)

test-slow: $(READY) ## Run the suites that download real models (magika, MiniLM), and follow the how-to guides
	$(BIN)/python -m pytest -m slow --timeout 1800 $(PYTEST_ARGS)

crash: $(READY) ## Cut the power 10,000 times, kill 100 processes, fail every write: old or new, never between (5 minutes)
	$(BIN)/python -m tests.crash.run $(CRASH_ARGS)

hostile: $(READY) ## Every bad package in a fresh process, every truncation and bit flip (10 minutes)
	$(BIN)/python -m tests.hostile $(HOSTILE_ARGS)

hostile-models: $(READY) ## Hostile models and mutations, packaged and verified: the caller survives all (15 minutes)
	$(BIN)/python -m tests.hostile.models_run $(HOSTILE_ARGS)

faults: $(READY) ## Swaps, rollbacks, kills, bad candidates and bad hosts under load: nothing lost (30 minutes)
	$(BIN)/python -m tests.faults $(FAULTS_ARGS)

soak: $(READY) ## SOAK_MINUTES (30) at 80 % of capacity with a swap every minute: nothing lost, memory flat
	$(BIN)/python -m tests.faults.soak

onnx-backend: $(READY) ## ONNX's own 2,000 backend cases: the answers through a package, bit for bit (2 minutes)
	$(BIN)/python -m tests.onnx_backend

$(ATHERIS):
	$(BIN)/python -m pip install --quiet --no-deps --target $@ atheris==3.0.0

fuzz: $(READY) $(ATHERIS) ## Fuzz the readers, guided by coverage, FUZZ_SECONDS (60) for each target
	PYTHONPATH=$(ATHERIS) $(BIN)/python -m tests.fuzz $(FUZZ_TARGETS)

lint: $(READY) ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## Apply the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY) ## Static types
	$(BIN)/mypy

imports: $(READY) ## The layers contract
	$(BIN)/lint-imports --no-logo

bench: $(READY) ## Measure the service against named references; writes its part of docs/explanation/performance.md
	$(BIN)/python -m benchmarks.run

bench-format: $(READY) ## Measure the package format against cp, zip, tar, openssl and its peers (20 minutes)
	$(BIN)/python -m benchmarks.format $(BENCH_ARGS)

bench-quantization: $(READY) ## Measure accuracy, bytes, load, memory and latency of quantized public models
	$(BIN)/python -m benchmarks.quantization $(BENCH_ARGS)

bench-serving: $(READY) ## Measure serving, swaps and canaries against MLServer and Triton's front end (10 minutes)
	$(BIN)/python -m benchmarks.serving $(BENCH_ARGS)

recording: $(READY) ## Type the deployment guide under load, with bad candidates and killed processes; writes docs/explanation/recorded-run.md
	$(BIN)/python -m benchmarks.recording

docs: $(READY) ## Generate docs/reference from the code
	$(BIN)/python -m docs.generate

lock: $(READY) ## Lock the newest allowed dependencies
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes --python-version 3.11 \
	    --no-header --upgrade --output-file requirements.lock --quiet

clean: ## Remove everything that was made here
	rm -rf $(VENV) .tools .demo .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find src tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +
