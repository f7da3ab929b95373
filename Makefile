# make train   trains reporters under each prior, to their verdicts        make test    runs every test
# make lm      the same question on a real language model                   make check   lint, formatting, types
# make bench   what is fast, measured here side by side
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN = .venv/bin

.PHONY: train lm test check bench clean

train: .venv/base
	@$(BIN)/python train.py +sweep=first

lm: .venv/lm
	@$(BIN)/python train.py experiment=cities

test: .venv/lm .venv/test
	@$(BIN)/python -m pytest -n 2 --dist loadfile

bench: .venv/base
	@$(BIN)/python train.py +sweep=first > /dev/null
	@for part in population activations bill judge intervals "report runs/first 10000"; do OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.$$part || exit 1; done

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
