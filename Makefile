# The two commands to know: `make demo` and `make test`. Everything else serves people who change the code.
PY := .venv/bin/python
WORKERS ?= 4
SECONDS ?= 600

.PHONY: help setup demo demo-clean test check fix bench rig fuzz lock clean

help:
	@echo "make demo        set everything up, end with a deployment that answers HTTP"
	@echo "make demo-clean  remove all the demo made"
	@echo "make test        set everything up, run every test"
	@echo "make check       formatting, lint, types, import contracts"
	@echo "make fix         mend what can be mended mechanically"
	@echo "make bench       the figures of the README, peers measured in the same run"
	@echo "make rig         100 rolling updates and more under load: not one request lost"
	@echo "make fuzz        ten minutes of coverage-guided fuzzing for each parser of strangers' bytes"
	@echo "make lock        resolve the dependencies anew (needs uv)"

setup:
	@tools/setup.sh

demo: setup
	@$(PY) examples/demo/demo.py up

demo-clean:
	@$(PY) examples/demo/demo.py clean

test: setup
	$(PY) -m pytest -n $(WORKERS)

check: setup
	.venv/bin/ruff format --check src tests bench rig
	.venv/bin/ruff check src tests bench rig
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

fix: setup
	.venv/bin/ruff check --fix-only -q src tests bench rig
	.venv/bin/ruff format -q src tests bench rig

bench: setup
	@for script in $$(ls bench/*.py | grep -v peer); do echo "== $$script"; $(PY) $$script || exit 1; done

rig: setup
	$(PY) rig $(RIG)

fuzz: setup
	$(PY) tests/fuzz --seconds $(SECONDS) $(FUZZ)

lock:
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header \
		pyproject.toml --group dev -o requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz dist
