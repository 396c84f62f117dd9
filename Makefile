# Each target sets up what it needs in .venv. PYTHON: an interpreter of 3.11 or later.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1

.PHONY: install demo test lint serve bench benchmark clean

install: .venv/installed

# torch first and alone: other packages would pull in a build that may not fit this machine
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]' || \
		echo "public bandit libraries are left out of benchmark and tests: they need a C++ compiler"
	touch $@

demo: install
	$(BIN)/pricebandit demo --seeds 5

serve: install
	$(BIN)/pricebandit serve

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest

bench: install
	$(BIN)/python benchmarks/linucb.py
	$(BIN)/python benchmarks/encoding.py
	$(BIN)/python benchmarks/serving.py

# policies against a clairvoyant; DATA: recorded sales, the made-up catalogue if unset
benchmark: install
	mkdir -p build
	$(BIN)/pricebandit benchmark $(if $(DATA),--data "$(DATA)") --home build/benchmark \
		--json build/benchmark.json --html build/benchmark.html

clean:
	rm -rf .venv build dist *.egg-info pricebandit-demo
