PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
MER := $(BIN)/mer

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench table-laenet-4 clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED)  ## a virtual environment with the tested set of packages

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e ".[dev]"
	touch $@

demo: $(INSTALLED)  ## drawn faces, from frames to a table and pictures: two networks and two controls
	$(MER) table experiments/demo/table.yaml
	@echo && echo "Pictures:" && ls runs/demo/*/synthetic/loso/seed-0/*.png

test: $(INSTALLED)  ## all tests
	$(BIN)/python -m pytest -n auto

lint: $(INSTALLED)  ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)  ## a LOSO fold-epoch against a plain loop, on an idle machine
	$(MER) bench loso

table-laenet-4: $(INSTALLED)  ## LAENet's table 4 beside ours; set MER_ROOT_MEGC2019_UVOS to train what is missing
	$(MER) table experiments/laenet/table4.yaml

clean:  ## remove the environment and the runs
	rm -rf .venv runs
