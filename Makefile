# Every target makes its own set-up first: a clean clone needs nothing but `make quickstart` or `make test`.
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
TEST_ARGS ?=
QUICKSTART_ARGS ?=

# Without bytecode every process that is started, and tests start hundreds, compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup quickstart test lint types bench all clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml scripts/find_python.sh
	@test -x $(RUN) || { python=$$(bash scripts/find_python.sh) && echo "set-up: $$($$python --version) at $$python" && $$python -m venv $(VENV); }
	@echo "set-up: installing into $(VENV) (a few minutes the first time)"
	@PYTHONWARNINGS=ignore $(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]'
	@$(RUN) -m compileall -qq -j 0 $(VENV)/lib || true # what pip does on one core; some packages hold files of Python 2
	@touch $@

quickstart: $(INSTALLED)
	@$(VENV)/bin/vst-vla quickstart $(QUICKSTART_ARGS)

# A file's tests stay in one process: they share what they have built. TEST_ARGS=-n0 runs all in one; it takes any
# option but -m. Tests that go by the wall's clock (servers, clients, a robot, a Ray cluster) run after the others, alone.
test: $(INSTALLED)
	@OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 2 --dist loadfile $(TEST_ARGS) -m "not alone"
	@$(RUN) -m pytest $(TEST_ARGS) -m alone || [ $$? -eq 5 ]

lint: $(INSTALLED)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

# mypy follows no import hooks, so the folders are shown to it under the name that they import as.
types: $(INSTALLED)
	@mkdir -p .typing/vst_vla && for f in vla envs policies scripts; do ln -sfn ../../$$f .typing/vst_vla/$$f; done
	@cd .typing && MYPYPATH=. ../$(VENV)/bin/mypy --config-file ../pyproject.toml -p vst_vla

bench: $(INSTALLED)
	@$(RUN) -m vst_vla.scripts.bench

all: lint types test

clean:
	rm -rf $(VENV) .uv .typing .mypy_cache .pytest_cache .ruff_cache build *.egg-info
