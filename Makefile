PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
MER := $(BIN)/mer

TABLES := table-affectivenet-1 table-affectivenet-2 table-affectivenet-3 table-affectivenet-figure-5 table-affectivenet-classes \
	table-originet-1 table-originet-2 table-originet-3 table-originet-4 table-originet-5 table-originet-6 table-originet-6-size \
	table-learnet-7 table-learnet-8 table-learnet-9 table-learnet-10 \
	table-laenet-1 table-laenet-2 table-laenet-3 table-laenet-4 table-laenet-4-frames table-laenet-5 table-laenet-6 table-laenet-7

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench tables $(TABLES) clean

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

tables: $(TABLES)  ## all tables of the papers; what needs a database that is not here says so

# One target a table: make table-laenet-4, and so on (make -n tables lists them).
table-affectivenet-1: $(INSTALLED)
	$(MER) table experiments/affectivenet/table1.yaml

table-affectivenet-2: $(INSTALLED)
	$(MER) table experiments/affectivenet/table2.yaml

table-affectivenet-3: $(INSTALLED)
	$(MER) table experiments/affectivenet/table3.yaml

table-affectivenet-figure-5: $(INSTALLED)
	$(MER) table experiments/affectivenet/figure5.yaml

table-affectivenet-classes: $(INSTALLED)
	$(MER) table experiments/affectivenet/classes.yaml

table-originet-1: $(INSTALLED)
	$(MER) table experiments/originet/table1.yaml

table-originet-2: $(INSTALLED)
	$(MER) table experiments/originet/table2.yaml

table-originet-3: $(INSTALLED)
	$(MER) table experiments/originet/table3.yaml

table-originet-4: $(INSTALLED)
	$(MER) table experiments/originet/table4.yaml

table-originet-5: $(INSTALLED)
	$(MER) table experiments/originet/table5.yaml

table-originet-6: $(INSTALLED)
	$(MER) table experiments/originet/table6.yaml

table-originet-6-size: $(INSTALLED)
	$(MER) table experiments/originet/table6_size.yaml

table-learnet-7: $(INSTALLED)
	$(MER) table experiments/learnet/table7.yaml

table-learnet-8: $(INSTALLED)
	$(MER) table experiments/learnet/table8.yaml

table-learnet-9: $(INSTALLED)
	$(MER) table experiments/learnet/table9.yaml

table-learnet-10: $(INSTALLED)
	$(MER) table experiments/learnet/table10.yaml

table-laenet-1: $(INSTALLED)
	$(MER) table experiments/laenet/table1.yaml

table-laenet-2: $(INSTALLED)
	$(MER) table experiments/laenet/table2.yaml

table-laenet-3: $(INSTALLED)
	$(MER) table experiments/laenet/table3.yaml

table-laenet-4: $(INSTALLED)
	$(MER) table experiments/laenet/table4.yaml

table-laenet-4-frames: $(INSTALLED)
	$(MER) table experiments/laenet/table4_frames.yaml

table-laenet-5: $(INSTALLED)
	$(MER) table experiments/laenet/table5.yaml

table-laenet-6: $(INSTALLED)
	$(MER) table experiments/laenet/table6.yaml

table-laenet-7: $(INSTALLED)
	$(MER) table experiments/laenet/table7.yaml

clean:  ## remove the environment and the runs
	rm -rf .venv runs
