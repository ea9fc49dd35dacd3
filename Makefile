# Each target installs what it needs into .venv; git, make and Python 3.11 or newer suffice.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
# Options for snakemake, for example: make demo ARGS="--configfile config/empiar10017.yaml"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint clean

help:
	@echo "make demo   train, pick and compare on simulated micrographs; see results/comparison.md"
	@echo "make test   run the tests"
	@echo "make lint   check style, types and the workflow"
	@echo "make clean  remove results and the installation"

demo: $(INSTALLED)
	$(BIN)/snakemake --cores all $(ARGS)
	@echo && cat results/comparison.md

test: $(INSTALLED)
	$(BIN)/pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/snakemake --lint

clean:
	rm -rf .venv .snakemake results

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than Python 3.11; try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,slurm]'
	touch $@
