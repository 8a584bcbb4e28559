PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
MER := $(BIN)/mer

# One target a table file: experiments/laenet/table4.yaml is table-laenet-4.
TABLE_FILES := $(filter-out %/print_check.yaml experiments/demo/%,$(sort $(wildcard experiments/*/*.yaml)))
table_target = $(patsubst %-,%,table-$(notdir $(patsubst %/,%,$(dir $(1))))-$(subst _,-,$(subst figure,figure-,$(patsubst table%,%,$(basename $(notdir $(1)))))))
TABLES := $(foreach file,$(TABLE_FILES),$(call table_target,$(file)))

.DEFAULT_GOAL := help
.PHONY: help setup demo pictures test test-oldest trust lint audit-dependencies bench gpu-check tables $(TABLES) tables-smoke tables-synthetic-full clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-21s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED)  ## a virtual environment with the tested set of packages

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e ".[dev,cluster,export,fast,reports]"
	touch $@

demo: $(INSTALLED)  ## drawn faces, from frames to a table and pictures: two networks and two controls
	$(MER) table experiments/demo/table.yaml --picture
	@echo && echo "Pictures:" && ls runs/tables/demo-table-synthetic.png runs/demo/*/synthetic/loso/seed-0/*.png

pictures: demo  ## the README's pictures, drawn again
	$(MER) figures encodings data=synthetic
	cp runs/tables/demo-table-synthetic.png docs/pictures/demo.png
	cp runs/figures/encodings-synthetic.png docs/pictures/encodings.png

test: $(INSTALLED)  ## all tests
	$(BIN)/python -m pytest -n auto

test-oldest:  ## the tests with the oldest dependencies that pyproject.toml admits, in .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install uv
	.venv-oldest/bin/uv pip install --python .venv-oldest/bin/python --resolution lowest-direct -e ".[dev,cluster,export,fast,reports]"
	@# Old packages warn of each other; what they compute is what counts here.
	.venv-oldest/bin/python -m pytest -n auto -W default

trust: $(INSTALLED)  ## every attempt to break a promise, by the thousand; writes docs/trust.md
	$(BIN)/python -m tests.trust_page

lint: $(INSTALLED) audit-dependencies  ## style, types, the direction of imports, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit-dependencies: $(INSTALLED)  ## known vulnerabilities of the tested set, as far as the registry knows
	$(BIN)/python -m tests.dependency_audit

bench: $(INSTALLED)  ## all benchmarks on an idle machine; writes bench/README.md and docs/cost.md
	$(MER) bench page

gpu-check:  ## all that wants a GPU, in one go; needs no installation: PYTHON has torch and Lightning
	PYTHONPATH=. $(PYTHON) -m mer.bench.gpu_check

tables: $(TABLES)  ## all tables of the papers; what needs a database that is not here says so

define table_rule
$(call table_target,$(1)): $$(INSTALLED)
	$$(MER) table $(1)
endef
$(foreach file,$(TABLE_FILES),$(eval $(call table_rule,$(file))))

tables-smoke: $(INSTALLED)  ## every row of every table, one epoch of one fold on drawn faces, into runs/smoke
	mkdir -p runs
	$(BIN)/python -m pytest -n auto --dist loadgroup --basetemp runs/smoke tests/tables_smoke.py

tables-synthetic-full: $(INSTALLED)  ## the same at full size, for days: published counts, all folds, seeds, epochs
	$(BIN)/python -m tests.synthetic_tables runs/synthetic-full

clean:  ## remove the environment and the runs
	rm -rf .venv runs
