# One command runner. Every target prepares what it needs; a fresh clone needs only Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCKS := requirements/dev.lock

# Recorded streams are not part of the repository: where they lie beside it, tests use them.
STREAMNURSERY_CORPORA ?= $(wildcard $(abspath ../shared/corpora))
export STREAMNURSERY_CORPORA

PYTEST := $(BIN)/python -m pytest -n 2
SEED = $(shell $(PYTHON) -c 'import secrets; print(secrets.randbits(32))')

.DEFAULT_GOAL := test
.PHONY: live prices reference site release setup check test proof soak trio-versions cover contract bench grade mutants demo lock

setup: $(READY)

$(READY): pyproject.toml $(LOCKS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(READY)
	STREAMNURSERY_TIER=test $(PYTEST)

proof: $(READY)
	STREAMNURSERY_TIER=proof $(PYTEST)

# The tests without sockets, with the oldest and the newest trio; fetches from a package index.
trio-versions: $(READY)
	$(BIN)/python -m tests.trio_versions

# Branch coverage per room, commands in processes of their own included.
cover: $(READY)
	rm -rf build/coverage
	@STREAMNURSERY_TIER=test $(PYTEST) --cov --cov-report=json:build/coverage/report.json; \
	status=$$?; $(BIN)/python -m tests.coverage_rooms build/coverage/report.json; exit $$status

# New random seeds each time: run `make soak SEED=...` to see a failure again.
soak: $(READY) trio-versions
	@seed=$(SEED); echo "soak with seed $$seed"; \
	STREAMNURSERY_TIER=soak $(PYTEST) --hypothesis-seed=$$seed; \
	status=$$?; echo "soak had seed $$seed"; exit $$status

contract: $(READY)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/contract.lock
	PYTHON=$(PYTHON) tests/contract/setup
	STREAMNURSERY_TIER=test \
		$(BIN)/python -m pytest -m contract -rsP

# Needs gcc and, for the Node rows, node. Peers get an environment of their own. The tables of
# README.md and docs/benchmarks.md are made from its results. As root on a machine that others
# use: make bench BENCH=--real-time
bench: $(READY)
	benchmarks/compare/setup
	$(BIN)/python -m benchmarks.compare $(BENCH)
	$(BIN)/python -m benchmarks.reference $(BENCH)
	$(BIN)/python -m benchmarks.parts
	$(BIN)/python -m benchmarks.publish

# What clients do when the provider misbehaves; litellm from the comparison's environment.
grade: $(READY)
	benchmarks/compare/setup
	benchmarks/grade

# Planted defects, one after another in a copy of the tree: who notices?
mutants: $(READY)
	$(BIN)/python -m tests.mutants --save docs/mutants.md

# docs/reference, from signatures and docstrings.
reference: $(READY)
	$(BIN)/python -m tests.reference

# The documentation as a site, in build/site; zensical gets an environment of its own.
site: $(READY)
	test -x build/zensical/bin/python || $(PYTHON) -m venv build/zensical
	build/zensical/bin/pip install --quiet --require-hashes --requirement requirements/site.lock
	build/zensical/bin/python -m tests.site

# What a release is checked for; the workflow of the release runs it: make release TAG=v0.2.0
release: $(READY)
	test -x build/releasing/bin/python || $(PYTHON) -m venv build/releasing
	build/releasing/bin/pip install --quiet --require-hashes --requirement requirements/release.lock
	PYTHONPATH=engine:. build/releasing/bin/python -m tests.release $(TAG)

# Real providers, with the keys that the environment holds; 0.05 USD each at most.
live: $(READY)
	$(BIN)/python -m tests.live

# The price list that is shipped, from the installed genai-prices.
prices: $(READY)
	$(BIN)/python -m tests.price_list

demo: $(READY)
	$(BIN)/streamnursery demo

# Newest versions that pyproject.toml allows, with the hashes of every platform's files.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-config --no-strip-extras --no-annotate --no-emit-index-url --no-emit-find-links \
	--custom-compile-command 'make lock' --upgrade

lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet uv
	build/lock/bin/$(COMPILE) --extra dev pyproject.toml requirements/build.in \
		--output-file requirements/dev.lock
	build/lock/bin/$(COMPILE) requirements/contract.in --constraint requirements/dev.lock \
		--output-file requirements/contract.lock
	build/lock/bin/$(COMPILE) requirements/site.in --output-file requirements/site.lock
	build/lock/bin/$(COMPILE) requirements/release.in --output-file requirements/release.lock
