# make demo        the whole story on this machine: train, publish, drop images, read predictions (no AWS, no Docker)
#                  DATA=folder               one's own photos, a folder per class; the network is chosen, in 25 minutes
#                  BACKBONE=name WEIGHTS=file MINUTES=n         with DATA: choose otherwise
#                  MODEL=x.tflite LABELS=y.txt IMAGES=folder    one's own model
#                  LOOP=1                    corrects predictions, trains again on the corrections, and compares
#                  KEEP=1                    leaves the local stack running
# make check       what to run while working: lint, types, and all tests but the slow ones
# make test        lint, types, the template's policy scan, and every test that needs no Docker
# make sam-local   the real `sam build` and `sam local invoke` against the local stack (Docker, or the emulator alone)
#                  MODEL=x.tflite LABELS=y.txt IMAGES=folder    with one's own model and images besides
#                  INVOKE_IMAGE=name SKIP_PULL_IMAGE=1          run in that image, and do not look for it in a registry
# make image       the function as a container image, IMAGE=bucketlens by default; needs Docker
# make image-test  every sample event in a container of it, then its HTTP API; needs Docker
# make image-push  ECR=account.dkr.ecr.region.amazonaws.com/name [TAG=tag] [DRY_RUN=1]
# make image-template    .bucketlens/template-image.yaml: template.yaml with the image in place of the zip package
# make soak        20 minutes of simulated bad days for the function, on every core: DURATION=60 for less, SEED=7 replays one
# make soak-local  a bad day on the local stack: failing calls, killed functions, a promotion: IMAGES=10000, SEED=7
# make bench       the speed of the function against plain handlers, into the README and .bucketlens/bench/: 25 minutes
#                  BASELINE=ref             takes turns with the function of that commit
# make bench-quick    the smallest photos only, under two minutes; PROFILE=image or jsonl shows where the CPU goes instead
# make bench-growth   batches of 10 to 10,000 images, and memory over 10,000 invocations
# make format      rewrite the sources in the house style
# make docs        regenerate docs/commands.md from the command line, and the output of commands in docs/scaling.md
# make lock        pin the requirements anew
# make clean       remove what the other targets made

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.SILENT:
MAKEFLAGS += --no-print-directory
.PHONY: setup demo check test soak soak-local bench bench-quick bench-growth lint format docs sam-local image image-test image-push \
	image-template lock clean

# A pyenv shim answers to a name and then fails, so a candidate is run before it is trusted.
# $(call python,3.13 3.12) is the first of these versions that works.
PYENV := $(shell pyenv root 2>/dev/null || echo $(HOME)/.pyenv)
candidates = $(foreach version,$(1),python$(version) $(wildcard $(PYENV)/versions/$(version)*/bin/python$(version))) python3
wanted = $(foreach version,$(1),'$(version)',)
python = $(shell for candidate in $(candidates); do \
	"$$candidate" -c "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] not in [$(wanted)])" 2>/dev/null \
	&& { echo "$$candidate"; break; }; done)

# Lambda runs 3.13, so 3.13 comes first.
PYTHON ?= $(call python,3.13 3.12 3.11)
PYTHON311 ?= $(call python,3.11)
BIN := .venv/bin
# uv installs in a tenth of pip's time; pip is asked where uv cannot reach the index that pip is configured for.
install = $(BIN)/uv pip install --quiet --python $(1) --require-hashes -r $(2) \
	|| $(1) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(2)

setup: .venv/.ready

.venv/.ready: requirements/dev.txt requirements/uv.txt requirements/rie.txt pyproject.toml
	test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 with venv is needed; set PYTHON to one" >&2; exit 1; }
	echo "setting up .venv with $$($(PYTHON) --version): TensorFlow and all, some 2.7 GB" >&2
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	$(call install,$(BIN)/python,requirements/dev.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m bucketlens.local.fetch_emulator
	touch $@

# The SAM CLI pins versions that fight with everyone else's, hence its own environment.
.venv-sam/.ready: requirements/sam.txt .venv/.ready
	rm -rf .venv-sam
	$(BIN)/python -m venv .venv-sam
	$(call install,.venv-sam/bin/python,requirements/sam.txt)
	touch $@

# Checkov pins an SDK of its own, too.
.venv-checkov/.ready: requirements/checkov.txt .venv/.ready
	rm -rf .venv-checkov
	$(BIN)/python -m venv .venv-checkov
	$(call install,.venv-checkov/bin/python,requirements/checkov.txt)
	touch $@

.venv-tflite/.ready: requirements/tflite.txt .venv/.ready
	rm -rf .venv-tflite
	if [ -n "$(PYTHON311)" ]; then $(PYTHON311) -m venv .venv-tflite; else $(BIN)/uv venv --seed --python 3.11 .venv-tflite; fi
	$(call install,.venv-tflite/bin/python,requirements/tflite.txt)
	touch $@

demo: .venv/.ready
	$(BIN)/python -m bucketlens.demo --data "$(DATA)" --model "$(MODEL)" --labels "$(LABELS)" --images "$(IMAGES)" \
		--backbone "$(BACKBONE)" --weights "$(WEIGHTS)" --minutes "$(MINUTES)" $(if $(LOOP),--loop) $(if $(KEEP),--keep)

lint: .venv/.ready
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy

FUNCTION_TESTS := tests/unit/classifier $(addprefix tests/integration/test_,store.py store_errors.py claims.py \
	pipeline.py handler.py served_model.py)

check: lint
	$(BIN)/pytest -q -m "not slow" -n auto --dist worksteal

# Files side by side: what one starts, endpoints on fixed ports among it, no other one needs.
test: lint .venv-checkov/.ready .venv-sam/.ready .venv-tflite/.ready
	$(BIN)/pytest -n auto --dist loadfile
	echo "the function's tests again: Python 3.11 with tflite-runtime"
	PYTHONPATH=functions .venv-tflite/bin/python -m pytest -p no:cacheprovider $(FUNCTION_TESTS)

sam-local: .venv-sam/.ready
	$(if $(MODEL),rm -rf .bucketlens/sam-bundle && $(BIN)/bucketlens model import --tflite "$(MODEL)" --labels "$(LABELS)" \
		--out .bucketlens/sam-bundle)
	$(BIN)/python -m bucketlens.local.sam $(if $(MODEL),--bundle .bucketlens/sam-bundle) $(if $(IMAGES),--photos "$(IMAGES)") \
		$(if $(INVOKE_IMAGE),--invoke-image "$(INVOKE_IMAGE)") $(if $(SKIP_PULL_IMAGE),--skip-pull-image)

IMAGE ?= bucketlens
TAG ?= $(shell git rev-parse --short HEAD)
# Lambda takes no image with attestations, which BuildKit adds by default. IMAGE_BUILD_ARGS: .ci/with-docker sets it.
image:
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build $(IMAGE_BUILD_ARGS) --file functions/Dockerfile --tag "$(IMAGE)" .

image-test: .venv/.ready image
	$(BIN)/python -m bucketlens.local.sam --image "$(IMAGE)"

image-push:
	[[ "$(ECR)" =~ ^([0-9]+\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?)/[a-z0-9._/-]+$$ ]] || \
		{ echo "error: ECR is '$(ECR)'; give a repository: ECR=123456789012.dkr.ecr.us-east-1.amazonaws.com/bucketlens" >&2; exit 1; }; \
	for command in \
		"aws ecr get-login-password --region $${BASH_REMATCH[2]} | docker login --username AWS --password-stdin $${BASH_REMATCH[1]}" \
		"docker tag $(IMAGE) $(ECR):$(TAG)" \
		"docker push $(ECR):$(TAG)"; \
	do echo "$$command"; $(if $(DRY_RUN),,eval "$$command";) done

image-template: .venv/.ready
	mkdir -p .bucketlens
	$(BIN)/python -m bucketlens.local.image_template >.bucketlens/template-image.yaml
	echo .bucketlens/template-image.yaml

soak: .venv/.ready
	$(BIN)/python -m tests.soak $(if $(SEED),--replay $(SEED),--seconds $(or $(DURATION),1200))

soak-local: .venv/.ready
	$(BIN)/python -m tests.soak.local --images $(or $(IMAGES),10000) $(if $(SEED),--seed $(SEED))

# TensorFlow and what else is in .venv/ stays as it is; only what it lacks is added, beside it.
.venv-bench/.ready: requirements/bench.txt .venv/.ready
	rm -rf .venv-bench
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target .venv-bench --no-deps --require-hashes -r $< \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --target .venv-bench --no-deps --require-hashes -r $<
	touch $@

bench: .venv-bench/.ready
	$(BIN)/python -m benchmarks $(if $(BASELINE),--baseline $(BASELINE))
	$(BIN)/python -m benchmarks.measured
	$(MAKE) docs

bench-quick: .venv/.ready
	$(BIN)/python -m benchmarks $(if $(PROFILE),--profile $(PROFILE),--quick) $(if $(BASELINE),--baseline $(BASELINE))

bench-growth: .venv/.ready
	$(BIN)/python -m benchmarks --growth

format: .venv/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.ready
	$(BIN)/python docs/commands.py >docs/.commands.new
	mv docs/.commands.new docs/commands.md
	$(BIN)/python docs/sessions.py docs/scaling.md

compile = $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header
lock: .venv/.ready
	$(compile) --universal --python-version 3.11 --all-extras pyproject.toml -o requirements/dev.txt
	echo uv | $(compile) --universal --python-version 3.11 --no-annotate - -o requirements/uv.txt
	$(compile) --python-version 3.11 --no-annotate requirements/tflite.in -o requirements/tflite.txt
	$(compile) --python-version 3.11 --no-annotate -c requirements/tflite.txt requirements/image.in -o requirements/image.txt
	$(compile) --universal --no-deps --python-version 3.11 --no-annotate -c requirements/dev.txt requirements/bench.in \
		-o requirements/bench.txt
	$(compile) --universal --python-version 3.11 requirements/sam.in -o requirements/sam.txt
	echo checkov | $(compile) --universal --python-version 3.11 --no-annotate - -o requirements/checkov.txt
	$(compile) --python-version 3.13 --python-platform x86_64-manylinux_2_28 --no-annotate -c requirements/dev.txt \
		.ci/lambda-image/runtime.in -o .ci/lambda-image/runtime.txt
	# The function runs what was tested: the versions of dev.txt on the Python of Lambda.
	$(compile) --no-deps --python-version 3.13 -c requirements/dev.txt functions/requirements.in -o functions/requirements.txt

clean:
	rm -rf .venv .venv-bench .venv-checkov .venv-sam .venv-tflite .bucketlens .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis
