# `make demo` and `make test` are all that most people need. Both create .venv themselves.
PYTHON ?= python3
BIN := .venv/bin
DATA := datasets/earth2map
RUN := runs/quickstart
RESULTS := results/quickstart

.PHONY: help install demo test soak gpu lint style audit clean

help:
	@echo "make demo    make a small satellite -> map set, train CUT on it, translate, score (4 to 6 minutes on 2 cores)"
	@echo "make test    run the tests (5 to 6 minutes)"
	@echo "make soak    kill, cut, fill and feed with hostile files, thousands of times (about 6 minutes)"
	@echo "make gpu     check and time everything on a GPU (about 8 minutes; first make demo, or cut-data earth2map, for the pictures)"
	@echo "make lint    check style and types, and the installed packages for known vulnerabilities"
	@echo "make clean   delete .venv; data, runs and results are kept"

install: $(BIN)/installed

$(BIN)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make: $(PYTHON) is too old; Python 3.10 or newer is needed: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -e '.[demo,dev]'
	@touch $@

demo: install
	$(BIN)/cut-data earth2map --output $(DATA)
	$(BIN)/cut-train --config configs/quickstart.yaml --run-dir $(RUN)
	$(BIN)/cut-test --run $(RUN) --input $(DATA)/testA --output $(RESULTS) --target $(DATA)/testB
	$(BIN)/cut-eval --generated $(RESULTS) --target $(DATA)/testB --baseline $(DATA)/testA --metrics class_iou,l1,ssim,swd,kid --palette earth2map --features efficientnet_lite1
	@echo "Look at $(RESULTS)_sheet.png (input, translation, target) and at $(RUN)/report.html (how the training went)."

test: install
	$(BIN)/python -m pytest -n auto

soak: install
	$(BIN)/python -m pytest tests/faults -m "soak or not soak" -n auto --dist worksteal -v

gpu: install
	$(BIN)/python scripts/gpu_check.py --data $(DATA)

lint: style audit

style: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: install
	$(BIN)/python scripts/audit.py

clean:
	rm -rf .venv
