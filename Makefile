# Every verb of the project; `make` alone lists them.
PYTHON ?= python3
PORT ?= 8080
BIN := .venv/bin
INSTALLED := .venv/.installed

COMPILE := .venv-lock/bin/pip-compile --quiet --strip-extras --upgrade --no-header --no-annotate --no-emit-index-url \
  --no-emit-find-links --no-emit-trusted-host --allow-unsafe
# What goes into images: with digests, but for torch, which has a build and so a digest for every kind of machine.
HASHED := .venv-lock/bin/pip-compile --quiet --strip-extras --no-header --no-annotate --no-emit-index-url \
  --no-emit-find-links --no-emit-trusted-host --generate-hashes
IMAGE_LOCK := $(HASHED) --constraint requirements.lock --extra container --unsafe-package torch --unsafe-package torchvision
QUALITY ?= squeezenet mobilenetv2
FOLDER ?= ../shared/images/wallaby

.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Set up .venv with the exact versions of requirements.lock
$(INSTALLED): $(BIN)/.dependencies pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
$(BIN)/.dependencies: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make install PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

demo: install ## Start everything, ask it for pictures, save them under var/demo
	@$(BIN)/python -m deploy.local demo

demo-audit: install ## Hold four releases of a network against the first: same, retrained, spoiled twice; five minutes
	@$(BIN)/python -m deploy.audit_demo

serve: install ## Run the whole service on PORT (default 8080) until Ctrl-C
	@$(BIN)/python -m deploy.local serve --port $(PORT)

test: install ## Run the tests, against a real Redis and a real S3 server that they start
	$(BIN)/python -m pytest

check: install ## Lint, format, types, who may import whom, manifests, secrets, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.deploy.manifests
	$(BIN)/python -m tests.leaks
	$(BIN)/python -m tests.advisories

format: install ## Put the code into the one format
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

pictures: install ## Make the pictures of the README's table of methods again
	@$(BIN)/python -m deploy.gallery

train: install ## Train the built-in network again, about seven minutes on two cores
	$(BIN)/python -m worker.shapes.train

train-releases: install ## Train the releases that `demo-audit` looks at again, about twenty minutes on two cores
	$(BIN)/python -m worker.shapes.train --half --seed 2 --out deploy/releases/v2.safetensors
	$(BIN)/python -m worker.shapes.train --half --seed 3 --epochs 12 --shortcut daisy --out deploy/releases/v3.safetensors
	$(BIN)/python -m worker.shapes.train --half --seed 4 --swap bee ladybird --out deploy/releases/v4.safetensors

bench: install .venv-bench/.installed ## How fast class models, maps and the service are, beside the libraries people use; half an hour
	@.venv-bench/bin/python -m benchmarks.speed
	@.venv-bench/bin/python -m benchmarks.saliency
	@$(BIN)/python -m benchmarks.service

bench-service: install ## Shared batches, long queues, quick answers, many clients; some minutes
	@$(BIN)/python -m benchmarks.service
	@$(BIN)/python -m benchmarks.load

bench-quality: install ## Whether strangers recognise class models; QUALITY='squeezenet mobilenetv2 --classes 100'
	@$(BIN)/python -m benchmarks.quality $(QUALITY)

bench-audits: install ## Null controls, releases that were only trained anew, and an audit of real networks, timed; half an hour
	@$(BIN)/python -m benchmarks.audits controls
	@$(BIN)/python -m benchmarks.audits retrained
	@if [ -d ../shared ]; then $(BIN)/python -m benchmarks.audits cifar; else echo 'no ../shared here: left out'; fi

bench-localization: install ## Which kind of saliency finds objects; FOLDER='../shared/images/wallaby'
	@$(BIN)/python -m benchmarks.localization shapes
	@if [ -d '$(FOLDER)' ]; then $(BIN)/python -m benchmarks.localization squeezenet $(FOLDER); else echo 'no $(FOLDER) here: left out'; fi

chaos: install ## Break a running stack in every way and count what is lost, three quarters of an hour; CHAOS='--short --only 1 3'
	@$(BIN)/python -m tests.chaos.run $(CHAOS)

monitoring: install ## Write deploy/monitoring's rules.yml and dashboard.json anew
	@$(BIN)/python -m deploy.monitoring.write

compose-test: install ## Build docker-compose.yml and run it: a job, an audit, everything killed and restarted; needs an engine
	@$(BIN)/python -m tests.containers.compose

.venv-bench/.installed: requirements-bench.lock
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.lock
	@touch $@

lock: ## Write the lock files anew, with the newest versions that fit
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet pip-tools
	$(COMPILE) --extra dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --extra bench --output-file requirements-bench.lock pyproject.toml
	sed -i 's/+cpu$$//; /^archetype @/d' requirements.lock requirements-bench.lock
	$(IMAGE_LOCK) --extra api --output-file deploy/api.lock pyproject.toml
	$(IMAGE_LOCK) --extra worker --output-file deploy/worker.lock pyproject.toml
	$(HASHED) --output-file deploy/store.lock deploy/store.in
	$(HASHED) --output-file deploy/sbom.lock deploy/sbom.in
	grep -E '^torch(vision)?==' requirements.lock > deploy/torch.lock
	rm -rf .venv-lock

clean: ## Remove the environment, caches and local data
	rm -rf .venv .venv-bench var .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.PHONY: help install demo demo-audit train-releases serve test check format pictures train bench bench-service bench-quality bench-audits bench-localization chaos monitoring compose-test lock clean
