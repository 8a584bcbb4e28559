PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
MER := $(BIN)/mer

# One target a table file: experiments/laenet/table4.yaml is table-laenet-4.
TABLE_FILES := $(filter-out %/print_check.yaml experiments/demo/%,$(sort $(wildcard experiments/*/*.yaml)))
table_target = table-$(notdir $(patsubst %/,%,$(dir $(1))))-$(subst _,-,$(subst figure,figure-,$(patsubst table%,%,$(basename $(notdir $(1))))))
TABLES := $(foreach file,$(TABLE_FILES),$(call table_target,$(file)))

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

define table_rule
$(call table_target,$(1)): $$(INSTALLED)
	$$(MER) table $(1)
endef
$(foreach file,$(TABLE_FILES),$(eval $(call table_rule,$(file))))

clean:  ## remove the environment and the runs
	rm -rf .venv runs
