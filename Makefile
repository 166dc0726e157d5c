# All commands of the project. `make` without arguments lists them.
PYTHON ?= python3
PORT ?= 8080
BIN := .venv/bin
INSTALLED := .venv/.installed

COMPILE := .venv-lock/bin/pip-compile --quiet --strip-extras --upgrade --no-header --no-annotate --no-emit-index-url \
  --no-emit-find-links --no-emit-trusted-host --allow-unsafe --find-links .venv-lock/wheels
# Lock files of the images, with digests; torch has a different digest for each kind of machine.
HASHED := .venv-lock/bin/pip-compile --quiet --strip-extras --no-header --no-annotate --no-emit-index-url \
  --no-emit-find-links --no-emit-trusted-host --generate-hashes --find-links .venv-lock/wheels
IMAGE_LOCK := $(HASHED) --constraint requirements.lock --extra container --unsafe-package torch --unsafe-package torchvision --unsafe-package archetype-client
QUALITY ?= squeezenet mobilenetv2
FOLDER ?= ../shared/images/wallaby

# Several processes, each with its own stack, because tests with servers wait; one thread each. Slow files come first.
TEST_PROCESSES ?= 5
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
ALONE := $(PYTEST) --last-failed --last-failed-no-failures none -rA
TESTS := -m "not slow"

# Compiles the tests and what they import, in two processes. Otherwise all processes of the tests compile all of it at the same time.
COMPILE_TESTS := for part in tests/unit "$(filter-out tests/unit/,$(wildcard tests/*/))"; do $(PYTEST) --collect-only --quiet $$part >/dev/null & done; wait
PYTEST += --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations 30

# The modules in use are compiled once, at their first import.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Set up .venv with the exact versions of requirements.lock
$(INSTALLED): $(BIN)/.dependencies pyproject.toml sdk/pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable sdk --editable .
	@touch $@
$(BIN)/.dependencies: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make install PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	@touch $@

demo: install ## Start everything, run a few jobs, save their images in var/demo, stop
	@$(BIN)/python -m deploy.local demo

demo-audit: install ## Audit four releases of a network against the first one; ten minutes
	@$(BIN)/python -m deploy.audit_demo

demo-mlflow: install .venv-integrations/.installed ## Import versions of an MLflow registry, audit them and write the verdicts back; ten minutes
	@$(BIN)/python -m deploy.demos.mlflow_demo

serve: install ## Run the whole service on PORT (default 8080) until Ctrl-C
	@$(BIN)/python -m deploy.local serve --port $(or $(PORT),8080)

test: install ## Run the tests, against a real Redis and a real S3 server that they start; about twenty minutes
	@$(COMPILE_TESTS)
	@$(PYTEST) $(TESTS) || { [ $$? -eq 1 ] && echo 'Tests that failed run once more, alone; those that pass now depend on time:' && $(ALONE); }

test-all: TESTS :=
test-all: test ## Run all tests, also the slow ones, of which `make test` has a short form

test-fast: install ## Run the tests that need no server
	@$(COMPILE_TESTS)
	$(PYTEST) -m "not server and not slow"

check: install ## Check lint, format, types, imports, spelling, documentation, manifests, secrets and advisories
	@$(MAKE) --no-print-directory --jobs 3 check-types check-leaks check-rest
check-types:
	$(BIN)/mypy
check-leaks:
	$(BIN)/python -m tools.checks.leaks
check-rest:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m tools.docs.reference --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	$(BIN)/python -m tools.checks.manifests
	$(BIN)/python -m tools.checks.advisories

format: install ## Format the code
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

pictures: install ## Create the images of docs/methods.md again
	@$(BIN)/python -m deploy.demos.gallery

showcase: install ## Draw the gallery of the first page again with the networks of ../shared, about ten minutes
	@$(BIN)/python -m deploy.demos.showcase benchmarks/models.toml

shots: install ## Take screenshots of every page at three widths, in var/shots
	@$(BIN)/python -m tools.docs.shots

train: install ## Train the built-in network again, about seven minutes on two cores
	$(BIN)/python -m worker.shapes.train

train-releases: install ## Train the releases of `demo-audit` again, about twenty minutes on two cores
	$(BIN)/python -m worker.shapes.train --half --seed 2 --out deploy/releases/v2.safetensors
	$(BIN)/python -m worker.shapes.train --half --seed 3 --epochs 12 --shortcut daisy --out deploy/releases/v3.safetensors
	$(BIN)/python -m worker.shapes.train --half --seed 4 --swap bee ladybird --out deploy/releases/v4.safetensors

bench: install .venv-bench/.installed ## Measure class visualizations, maps and the service against other libraries; half an hour
	@.venv-bench/bin/python -m benchmarks.speed
	@.venv-bench/bin/python -m benchmarks.saliency
	@$(BIN)/python -m benchmarks.service

bench-service: install ## Measure shared batches, long queues, latency, many clients and fairness; some minutes
	@$(BIN)/python -m benchmarks.service
	@$(BIN)/python -m benchmarks.load
	@$(BIN)/python -m benchmarks.queue.fairness
	@$(BIN)/python -m benchmarks.queue.history
	@$(BIN)/python -m benchmarks.shards.image_jobs --images 2000

scale: install ## Simulate 10, 100 and 1,000 workers with a real Redis, half an hour; a million jobs: SCALE='--workers 1000 --jobs 1000000'
	@$(BIN)/python -m benchmarks.scale $(SCALE)

bench-quality: install ## Measure whether other networks recognize class visualizations; QUALITY='squeezenet mobilenetv2 --classes 100'
	@$(BIN)/python -m benchmarks.quality $(QUALITY)

bench-audits: install zoo ## Measure audits: null controls, retrained releases, the zoo, and real networks; some hours
	@$(BIN)/python -m benchmarks.audits controls
	@$(BIN)/python -m benchmarks.audits retrained
	@$(BIN)/python -m benchmarks.audits speed
	@$(BIN)/python -m benchmarks.zoo.audit shapes
	@if [ -d ../shared ]; then $(BIN)/python -m benchmarks.audits cifar && $(BIN)/python -m benchmarks.zoo.audit resnet20 && \
	  $(BIN)/python -m benchmarks.zoo.audit squeezenet; else echo 'skipped: ../shared does not exist'; fi

zoo: install ## Train the releases with and without planted shortcuts that bench-audits audits, in var/zoo; an hour or more
	@$(BIN)/python -m benchmarks.zoo.train
	@if [ -d ../shared ]; then $(BIN)/python -m benchmarks.zoo.real_networks; else echo 'skipped: ../shared does not exist'; fi

bench-localization: install ## Measure the localization accuracy of saliency kinds; FOLDER='../shared/images/wallaby'
	@$(BIN)/python -m benchmarks.localization shapes
	@if [ -d '$(FOLDER)' ]; then $(BIN)/python -m benchmarks.localization squeezenet $(FOLDER); else echo 'skipped: $(FOLDER) does not exist'; fi

bench-maps: install ## Measure how faithful each kind of saliency map is to a network, some hours; MAPS='squeezenet --images 12'
	@$(BIN)/python -m benchmarks.attribution.maps $(or $(MAPS),squeezenet mobilenetv2 resnet20 shapes)

families: install ## Load one small network of every family of timm and torchvision, and time a registration; half an hour; FAMILIES='--test'
	@$(BIN)/python -m benchmarks.families $(FAMILIES)
	@$(BIN)/python -m benchmarks.registration

chaos: install ## Inject faults into a running stack and count lost jobs, about an hour; CHAOS='--short --only 1 3'
	@$(BIN)/python -m tests.chaos.run $(CHAOS)

siege: install ## Attack a running stack and measure what another tenant sees, 12 minutes; SIEGE='--short --only headers-70'
	@$(BIN)/python -m tests.siege.run $(SIEGE)

fuzz: install ## Send 20,000 mutated images, archives, arrays, checkpoints and JSON bodies under memory limits; FUZZ='--count 1000'
	@$(BIN)/python -m tests.fuzz.run $(FUZZ)

docs: install ## Generate the reference pages and build the documentation in var/site; broken links are errors
	$(BIN)/python -m tools.docs.reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

monitoring: install ## Generate deploy/monitoring/rules.yml and dashboard.json
	@$(BIN)/python -m deploy.monitoring.write

chart: install ## Generate the Helm chart in deploy/helm/chart from deploy/kubernetes
	@$(BIN)/python -m deploy.helm.write

images: install ## Build and tag the container images, with what is in them and what they were built from; IMAGES='--registry R --push'
	@$(BIN)/python -m deploy.images $(IMAGES)

compose-test: install ## Build and run docker-compose.yml: a job, an audit, restarts; needs a container engine
	@$(BIN)/python -m tests.e2e.compose

.venv-bench/.installed: requirements-bench.lock
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.lock
	@touch $@

integrations: install .venv-integrations/.installed .venv-airflow/.installed ## Test with the real KServe client, MLflow and Airflow; five minutes after their installation
	$(BIN)/python -m pytest tests/e2e/integrations

.venv-integrations/.installed: tests/e2e/integrations/requirements.lock
	$(PYTHON) -m venv .venv-integrations
	.venv-integrations/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r tests/e2e/integrations/requirements.lock
	@touch $@

.venv-airflow/.installed: tests/e2e/integrations/airflow.lock
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r tests/e2e/integrations/airflow.lock
	@touch $@

lock: ## Write the lock files with the newest versions that fit
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet pip-tools
	.venv-lock/bin/pip wheel --quiet --no-deps --wheel-dir .venv-lock/wheels ./sdk
	$(COMPILE) --extra dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --extra bench --output-file requirements-bench.lock pyproject.toml
	$(COMPILE) --output-file tests/e2e/integrations/requirements.lock tests/e2e/integrations/requirements.in
	$(COMPILE) --output-file tests/e2e/integrations/airflow.lock tests/e2e/integrations/airflow.in
	sed -i 's/+cpu$$//; /^archetype-/d' requirements.lock requirements-bench.lock
	$(IMAGE_LOCK) --extra api --output-file deploy/api.lock pyproject.toml
	$(IMAGE_LOCK) --extra worker --output-file deploy/worker.lock pyproject.toml
	$(HASHED) --output-file deploy/store.lock deploy/store.in
	$(HASHED) --output-file deploy/sbom.lock deploy/sbom.in
	grep -E '^torch(vision)?==' requirements.lock > deploy/torch.lock
	rm -rf .venv-lock

clean: ## Remove the environment, caches and local data
	rm -rf .venv .venv-bench .venv-integrations .venv-airflow var .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.PHONY: help install demo demo-audit demo-mlflow train-releases serve test test-all test-fast check check-types check-rest format docs pictures train bench bench-service scale zoo bench-quality bench-audits bench-localization bench-maps families chaos siege fuzz monitoring chart images compose-test integrations lock clean
