# Every target but help does all of its own set-up, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
START := $(shell date +%s)
# Named after the interpreter, so that another PYTHON= sets up anew.
STAMP := $(VENV)/installed-by-$(subst /,_,$(PYTHON))

.PHONY: help demo check test lint types
.DEFAULT_GOAL := help

# A .venv whose interpreter no longer runs is made again.
ifneq ($(shell $(BIN)/python -c 'print(1)' 2>/dev/null),1)
.PHONY: $(STAMP)
endif

help:
	@echo 'make demo   train, evaluate and picture a small Mask R-CNN (no download of data)'
	@echo 'make check  lint, types and the fast tests: before every commit'
	@echo 'make test   run all tests'
	@echo 'make exhaustive  export every arch and every option: an hour'
	@echo 'make lint   check style and formatting'
	@echo 'make types  check the types'
	@echo
	@echo 'Each sets up .venv on first use. PYTHON=python3.12 chooses the interpreter'
	@echo '(3.10 to 3.12), PIP_INDEX_URL=https://... another package registry.'

# glibc hands the memory of each step back to the system and asks for it again;
# keeping it saves time (page faults).
demo: export MALLOC_TRIM_THRESHOLD_ = 8589934592
demo: export MALLOC_MMAP_THRESHOLD_ = 8589934592
demo: $(STAMP)
	@$(BIN)/python tools/demo.py --since $(START)

# A process a core: threads of several would wait for one another.
check test exhaustive: export OMP_NUM_THREADS = 1
check: lint types
	@$(BIN)/python -m pytest -n auto --dist loadfile -m 'not slow'

test: $(STAMP)
	@$(BIN)/python -m pytest -n auto --dist loadfile

exhaustive: $(STAMP)
	@$(BIN)/python -m pytest -n auto -m exhaustive

lint: $(STAMP)
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .

types: $(STAMP)
	@$(BIN)/python -m mypy projects/ivit

# The stamp is written last, so an interrupted set-up is done again.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@command -v '$(PYTHON)' >/dev/null || { \
	    echo 'Set-up: there is no "$(PYTHON)" here. Install Python 3.10, 3.11 or 3.12, or name one: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; \
	    exit 1; }
	@found=$$('$(PYTHON)' -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	case "$$found" in 3.10|3.11|3.12) ;; *) \
	    echo "Set-up: \"$(PYTHON)\" is Python $$found; 3.10, 3.11 or 3.12 is needed. Name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	    exit 1;; esac
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo 'Set-up: "$(PYTHON)" has no venv module. On Debian and Ubuntu: apt install python3-venv' >&2; \
	    exit 1; }
	@'$(PYTHON)' -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check \
	    -c constraints.txt -e '.[onedl,dev]' || { \
	    echo >&2; \
	    echo 'Set-up: pip could not install the packages; its own message is above.' >&2; \
	    echo 'If the package registry is out of reach, check the network or proxy,' >&2; \
	    echo 'or name a mirror: make $(MAKECMDGOALS) PIP_INDEX_URL=https://...' >&2; \
	    exit 1; }
	@touch $@
