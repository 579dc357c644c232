# make demo                      install, simulate a monitored lens, light curve against truth
# make demo FRAMES=dir           the same with frames of your own (RA=, DEC=, NAME=, BAND=, CATALOG=, INSTRUMENT=)
# make test                      install the test extras, run all checks and tests
# make bench                     accuracy against truth, other programs on the same cutouts, cost: docs/accuracy.md
#                                (FULL=1: more sets for the other programs)
# make reliability               every goal of docs/reliability.md measured, in small (FULL=1: the whole procedure)
# make coverage                  lines and branches of storage and state that the tests run
# make bench-env                 install those other programs in an environment of their own
# make docs                      build the site of the documentation: site/index.html
# make audit                     ask for known vulnerabilities of everything that is pinned
# make lock                      renew the lock files
# make clean                     remove the environments and the demo

VENV := .venv
BENCH_VENV := .venv-bench
AUDIT_VENV := .venv-audit
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
OLDEST := 3.11
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { command -v $$p; break; }; done)

# small matrices: more threads per process only get in each other's way, most of all on a busy machine
export OMP_NUM_THREADS ?= 1

# a run that set some frames aside (exit code 10) is a run
RUN = $(BIN)/lightwatch run $(1) || { code=$$?; test $$code -eq 10 || exit $$code; }

.PHONY: demo test lint bench reliability coverage bench-env docs audit lock clean install
.DELETE_ON_ERROR:

install: $(VENV)/.installed

ifdef FRAMES
OWN := demo/own/$(or $(NAME),$(shell basename "$(FRAMES)"))
demo: install
	@test -d "$(FRAMES)" || { echo "FRAMES=$(FRAMES): no such directory" >&2; exit 2; }
	@test -f "$(OWN)/config.yaml" || $(BIN)/lightwatch init "$(OWN)" --frames "$(FRAMES)" \
		$(if $(NAME),--name "$(NAME)") $(if $(RA),--ra "$(RA)") $(if $(DEC),--dec "$(DEC)") \
		$(if $(BAND),--band "$(BAND)") $(if $(CATALOG),--catalog "$(CATALOG)") \
		$(if $(INSTRUMENT),--instrument "$(INSTRUMENT)")
	@$(call RUN,"$(OWN)")
	@$(BIN)/lightwatch report "$(OWN)"
	@echo "config: $(OWN)/config.yaml   database: $(OWN)/database.sqlite3"
else
demo: install
	@$(BIN)/python benchmarks/demo.py simulate demo
	@$(BIN)/lightwatch run demo
	@$(BIN)/lightwatch report demo
	@$(BIN)/python benchmarks/demo.py compare demo
endif

test: $(VENV)/.installed-test lint
	@echo "tests, in two halves side by side"
	@$(BIN)/pytest --durations=10 tests/report tests/test_*.py > $(VENV)/half.log 2>&1 & half=$$!; \
	$(BIN)/pytest --durations=10 $(filter-out tests/report/ tests/__pycache__/,$(wildcard tests/*/)); code=$$?; \
	wait $$half || code=$$?; cat $(VENV)/half.log; exit $$code

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: install
	@$(BIN)/python benchmarks/bench.py $(if $(FULL),--full) --write docs/accuracy.md

reliability: $(VENV)/.installed-test
	@$(BIN)/python benchmarks/reliability/board.py $(if $(FULL),--full --write docs/reliability.md)

# every warning is an error (mkdocs.yml; not with --quiet, which counts none); nothing is fetched when a page is looked at
docs: $(VENV)/.installed-test build/tutorial.ipynb
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "site/index.html"

# the tutorial with what it prints and draws; make test leaves it there, too
build/tutorial.ipynb: docs/tutorial.ipynb $(wildcard lightwatch/*/*.py lightwatch/*/*/*.py) $(VENV)/.installed-test
	@echo "executing the tutorial"
	@mkdir -p $(@D)
	@$(BIN)/jupyter-execute --output ../build/tutorial $<

# --strict: what the service does not know is not taken for sound
audit: $(AUDIT_VENV)/.installed
	@$(AUDIT_VENV)/bin/pip-audit --disable-pip --require-hashes --strict --progress-spinner off \
		-r requirements.lock -r requirements-test.lock -r benchmarks/requirements-bench.lock

$(AUDIT_VENV)/.installed: benchmarks/requirements-audit.lock
	@test -n "$(PYTHON)" && $(PYTHON) -m venv $(AUDIT_VENV)
	@$(AUDIT_VENV)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r $<
	@touch $@

coverage: $(VENV)/.installed-test
	@$(BIN)/python benchmarks/reliability/board.py --full --only R29

# STARRED is under the GPL: no code of lightwatch imports it, and it has an environment of its own
bench-env: $(BENCH_VENV)/.installed

$(BENCH_VENV)/.installed: benchmarks/requirements-bench.lock
	@test -n "$(PYTHON)" && $(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r $<
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "lightwatch needs Python >= $(OLDEST), and none was found. Install one, or say where\
	 it is: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is no Python >= $(OLDEST)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) lacks the module venv (package python3-venv)" >&2; exit 1; }
	@echo "environment in $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing lightwatch and what it needs"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-test: requirements-test.lock $(VENV)/.installed
	@echo "installing what the tests need"
	@$(PIP) --require-hashes -r requirements-test.lock
	@touch $@

# The files hold names, versions and hashes only. appnope is needed by the notebook kernel on macOS alone, which a
# compilation elsewhere leaves out.
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options
lock: $(BIN)/python
	@$(PIP) pip-tools
	printf 'hatchling\neditables\n' > $(VENV)/build.in
	$(COMPILE) -o requirements.lock pyproject.toml $(VENV)/build.in
	$(COMPILE) -o requirements-test.lock --extra test -c requirements.lock pyproject.toml $(VENV)/build.in
	printf 'photutils\nstarred-astro\n' > $(VENV)/bench.in
	$(COMPILE) -o benchmarks/requirements-bench.lock $(VENV)/bench.in
	printf 'pip-audit\n' > $(VENV)/audit.in
	$(COMPILE) -o benchmarks/requirements-audit.lock $(VENV)/audit.in
	printf '%s\n' 'appnope==0.1.4 ; sys_platform == "darwin" \' \
		'    --hash=sha256:502575ee11cd7a28c0205f379b525beefebab9d161b7c964670864014ed7213c' >> requirements-test.lock

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(AUDIT_VENV) build demo site
