# One front door; CI runs the same targets. Every target sets up what it needs.
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: run test check bench docs accuracy clean

$(BIN)/.installed: pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/pip install -q -e '.[dev]'
	touch $@

run: $(BIN)/.installed
	$(BIN)/trainsim run scenarios/gpt3-175b-a100-64.yaml

test: $(BIN)/.installed
	$(BIN)/pytest

check: $(BIN)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

bench: $(BIN)/.installed
	$(BIN)/python benchmarks/speed/bench_engine.py

docs: $(BIN)/.installed
	$(BIN)/python -m docs.generate

accuracy: $(BIN)/.installed
	$(BIN)/python -m docs.generate --accuracy

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis dist build
