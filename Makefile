# Each target installs what it needs into .venv; git, make and Python 3.11 or newer suffice.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
# Options for snakemake, for example: make demo ARGS="--configfile config/experiments/empiar10017.yaml"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-slurm test-relion test-container test-kills fuzz bench casebook screenshots general lint docs clean

help:
	@echo "make demo        train, pick and compare on simulated micrographs; see results/report.html"
	@echo "make test        run the tests"
	@echo "make test-slurm  run the workflow on a single-node SLURM; needs root and SLURM's packages"
	@echo "make test-relion  extract particles with RELION 3.1.3 from fewpick's files; needs Debian's package relion"
	@echo "make test-container  build the containers and run the workflow in them; needs docker, podman or apptainer"
	@echo "make test-kills  kill the workflow a hundred times at random moments"
	@echo "make fuzz        corrupt files of every format and read them, for half an hour"
	@echo "make bench       measure speed and memory; see docs/performance.md"
	@echo "make screenshots  take screenshots of the labelling page for docs/labelling.md; needs Chromium"
	@echo "make casebook    write docs/casebook.md: how bad input is handled"
	@echo "make general     retrain the network shipped with the package; twenty minutes"
	@echo "make lint        check style, types and the workflow"
	@echo "make docs        build the documentation site into site/"
	@echo "make clean       remove results and the installation"

demo: $(INSTALLED)
	$(BIN)/snakemake --cores all $(ARGS)
	@test ! -e results/comparison.md || { echo; sed '/^## What the columns mean/,$$d' results/comparison.md; \
		echo "The same with plots and pictures: results/report.html"; }

# The tests of a file stay together, since they share what they set up. One thread for each worker.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

test-relion: $(INSTALLED)
	$(BIN)/pytest -m relion tests/workflow/test_relion.py

# Mirrors of a site, for example: make test-container FEWPICK_BUILD_OPTIONS="--network host"
test-container: $(INSTALLED)
	FEWPICK_BUILD_OPTIONS="$(FEWPICK_BUILD_OPTIONS)" $(BIN)/pytest -rs -m container tests/container

test-slurm: $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,slurm]'
	$(BIN)/pytest -m slurm tests/cluster

# Fewer kills: make test-kills FEWPICK_WORKFLOW_KILLS=10
test-kills: $(INSTALLED)
	$(BIN)/pytest -s -m kills tests/workflow

# Shorter, or one parser: make fuzz FEWPICK_FUZZ_MINUTES=5 ARGS=tif
fuzz: $(INSTALLED)
	FEWPICK_FUZZ_MINUTES=$(or $(FEWPICK_FUZZ_MINUTES),30) $(BIN)/python tests/helpers/fuzz.py $(ARGS)

# For example: make bench ARGS="--topaz /opt/topaz/bin/topaz"
bench: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks $(ARGS)

screenshots: $(INSTALLED)
	FEWPICK_SCREENSHOTS=docs/images $(BIN)/pytest tests/browser/test_label_tour.py

casebook: $(INSTALLED)
	$(BIN)/python docs/make_casebook.py

# Data elsewhere, another recipe: make general DATA=/data RECIPE=mine.yaml ARGS="-o mine.safetensors"
general: $(INSTALLED)
	$(BIN)/python -m fewpick.general.recipe $(or $(RECIPE),config/general.yaml) \
		--data $(or $(DATA),$(FEWPICK_DATA),../shared/data) $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/snakemake --lint

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

clean:
	rm -rf .venv .snakemake results site

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than Python 3.11; try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
