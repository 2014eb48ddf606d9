# make          create .venv with the course in it
# make lab      ... render what the first lecture needs, and open JupyterLab
# make help     the rest
#
# Works with GNU make 3.81 (macOS). VENV names another environment, PYTHON another interpreter (3.11 or later).

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS ?= lab,dev
# For pip when it installs PyTorch, for example '--index-url ...' for a build without CUDA; see docs/install.md.
TORCH_OPTIONS ?=
TEST_OPTIONS ?=
JOBS ?= auto
LAB_OPTIONS ?= $(if $(filter 0,$(shell id -u)),--allow-root)

RECENT := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$name" -c '$(RECENT)' >/dev/null 2>&1 && echo "$$name" && break; done)

.DELETE_ON_ERROR:
.PHONY: environment help lab test lint notebooks lectures exercises bench checks-report

environment: $(READY)

# PyTorch goes first, by its pin: asked for together with the rest, pip may look past the pinned build.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "The course needs Python 3.11 to 3.14 and found none: install one (Debian and Ubuntu: sudo apt install python3 python3-venv; macOS: brew install python@3.12), or name it with make PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -c '$(RECENT)' || { echo "$(PYTHON) is not Python 3.11 to 3.14: name one that is with make PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot create environments: on Debian and Ubuntu run 'sudo apt install python3-venv' (or python3.X-venv for a python3.X), then make again." >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" -m pip install $(TORCH_OPTIONS) "$$(grep '^torch==' constraints.txt)"
	"$(BIN)/python" -m pip install --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch "$@"

help:
	@echo "make            create $(VENV) and install the course into it"
	@echo "make lab        render what the first lecture needs, then open JupyterLab"
	@echo "make test       run the tests (TEST_OPTIONS='-k piano' for some)"
	@echo "make lint       ruff and pyright"
	@echo "make notebooks  make lectures, make exercises"
	@echo "make lectures   build and execute the lectures whose source has changed"
	@echo "make bench      how fast the band is rendered on this machine"
	@echo "make exercises  build solutions/ and release exercises/ from them"
	@echo "make checks-report  wrong answers caught and named, right ones passed, mutants killed, per exercise"

lab: $(READY)
	"$(BIN)/mircourse" prepare piano --hours 0.2
	"$(BIN)/jupyter" lab $(LAB_OPTIONS) --LabApp.default_url=/lab/tree/lectures

# One thread a worker: many small jobs side by side beat one job on many threads.
test: $(READY)
	OMP_NUM_THREADS=1 MPLBACKEND=Agg "$(BIN)/python" -m pytest -n $(JOBS) $(TEST_OPTIONS)

lint: $(READY)
	"$(BIN)/ruff" check .
	"$(BIN)/pyright" --pythonpath "$(BIN)/python"

notebooks: lectures exercises

lectures: $(READY)
	"$(BIN)/python" sources/build.py lectures

exercises: $(READY)
	"$(BIN)/python" sources/build.py exercises

checks-report: $(READY)
	"$(BIN)/python" -m mircourse.checks.report

bench: $(READY)
	"$(BIN)/python" benchmarks/prepare_piano.py
