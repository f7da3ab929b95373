# make train   trains and judges reporters under each prior   make test       runs the fast tests
# make lm      the same question on a real language model     make test-all   runs every test
# make bench   measures what is fast, side by side            make check      lint, formatting, types
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN = .venv/bin
PYTEST = $(BIN)/python -m pytest -n 2 --dist worksteal
# Python keeps what it compiles, also where the machine's default is not to.
export PYTHONDONTWRITEBYTECODE =
BENCHMARKS = population settling activations bill judge intervals imports "report runs/first 10000" rivals

.PHONY: train lm test test-all check bench clean

train: .venv/base
	@$(BIN)/python train.py +sweep=first

lm: .venv/lm
	@$(BIN)/python train.py experiment=cities

test: .venv/lm .venv/test
	@$(PYTEST) -m "not slow"

test-all: .venv/lm .venv/test
	@$(PYTEST)

bench: .venv/base
	@$(BIN)/python train.py +sweep=first > /dev/null
	@for part in $(BENCHMARKS); do OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.$$part || exit 1; done

check: .venv/base
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

.venv/base: requirements.lock
	@echo "Setting up .venv; this takes a minute or two."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

.venv/lm: .venv/base requirements-lm.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-lm.lock
	@touch $@

.venv/test: .venv/base requirements-test.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-test.lock
	@touch $@

clean:
	rm -rf .venv runs
