# One front door; CI runs the same targets. Every target sets up what it needs.
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: run test check bench accuracy clean

$(BIN)/.installed: pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/pip install -q -e '.[dev]'
	touch $@

run: $(BIN)/.installed
	$(BIN)/trainsim run scenarios/megatron-175b-12288.yaml

test: $(BIN)/.installed
	$(BIN)/pytest

check: $(BIN)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(BIN)/.installed
	$(BIN)/python benchmarks/speed/bench_engine.py

accuracy: $(BIN)/.installed
	$(BIN)/trainsim validate --page docs/accuracy.md

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis dist build
