# make demo, make test: each enough by itself on a fresh machine. DATA=folder [VAL=folder] for your own.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DATA ?=
VAL ?=
# Two at a time: tests wait for processes more than they compute, and many begin two themselves.
SIDE_BY_SIDE := -n 2 --dist worksteal

.PHONY: help setup demo test quick check bench clean

help:
	@echo "make demo   [DATA=folder [VAL=folder]]  install everything, train, show the result"
	@echo "make test   install everything, run all tests"
	@echo "make quick  the tests that take no time: under 2 minutes"
	@echo "make setup  install everything into .venv (DALI and FFCV where the machine can take them)"
	@echo "make check  lint, format and types"
	@echo "make bench  [DATA=folder]  images per second of step, loaders and training here, and what limits them"

setup: $(READY)

$(READY): setup.cfg pyproject.toml .ci/setup
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh .ci/setup
	@touch $(READY)

demo: $(READY)
	@$(BIN)/swiftsiam demo $(if $(DATA),--data "$(DATA)") $(if $(VAL),--val "$(VAL)")

test: $(READY)
	@$(BIN)/python -m pytest -q $(SIDE_BY_SIDE)

quick: $(READY)
	@$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m "not slow and not campaign"

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright --level error

bench: $(READY)
	@$(BIN)/python -m swiftsiam bench all $(if $(DATA),--data "$(DATA)")

clean:
	rm -rf $(VENV) build dist *.egg-info
