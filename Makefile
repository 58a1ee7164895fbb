# Sets up .venv from pip alone and runs in it. The README spells the same lines out for those without make.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt
INPUTS := pyproject.toml constraints.txt

.PHONY: run test verification lint bounds docs picture clean constraints posteriors posterior-table
.DELETE_ON_ERROR:

run: $(VENV)/.installed-run
	@$(PY) -m simulator $(ARGS)

test: $(VENV)/.installed-test
	$(PY) -m pytest $(ARGS)

# The heavy batteries, some hours: tests/verification/README.md says what each checks and how to run a part.
verification: $(VENV)/.installed-test
	$(PY) -m pytest tests/verification $(ARGS)
	$(PY) -m pytest -m slow $(ARGS)
	$(PY) -m tests.defects

lint: $(VENV)/.installed-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

# The main job and a small set of tests on the oldest and the newest versions that pyproject.toml allows.
bounds:
	@PYTHON="$(PYTHON)" tests/packaging/bounds.sh $(ARGS)

# The site, in build/docs/: every page's code is run, and a warning is an error.
docs: $(VENV)/.installed-docs
	$(PY) -m sphinx -W --keep-going -q -E -b html docs build/docs
	@echo "build/docs/index.html"

# The picture of the README and of the site: survival in the default run, as `figures.survival` draws it.
picture: $(VENV)/.installed-run
	@mkdir -p docs/images
	@$(PY) -c 'import simulator; simulator.figures.survival(simulator.simulate()).savefig("docs/images/survival.png", dpi=85)'

# The shipped posteriors, each from the starting values of its cohort.
posteriors: $(VENV)/.installed-run
	@set -eu; made=$$(mktemp -d); trap 'rm -rf "$$made"' EXIT; \
	for path in configs/calibration/*.yaml; do \
		cohort=$$(basename "$$path" .yaml); name="configs/parameters/$${cohort}_calibrated"; \
		$(PY) -m calibration cohort="$$cohort" diagnostics=none hydra.run.dir="$$made/$$cohort"; \
		sed "s/^posterior: .*/posterior: $${cohort}_calibrated.csv/" "$$made/$$cohort/parameters.yaml" > "$$name.yaml"; \
		cp "$$made/$$cohort/draws.csv" "$$name.csv"; \
	done

# Those posteriors beside those of a revision (SINCE=…), and beside the exact ones where these are known.
posterior-table: $(VENV)/.installed-run
	@$(PY) docs/posterior_table.py $(SINCE)

clean:
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find calibration simulator tests -type d -name __pycache__ -exec rm -rf {} +

# A resolve for every supported Python at once; only names, versions and markers may come out of it.
constraints:
	@set -eu; tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	$(PYTHON) -m venv "$$tools"; \
	"$$tools/bin/python" -m pip install --quiet --disable-pip-version-check uv; \
	"$$tools/bin/uv" pip compile pyproject.toml --universal --upgrade --quiet --python-version 3.11 \
		--extra calibration --extra distributed --extra docs --extra oracle --extra test \
		--no-annotate --no-emit-index-url --no-header --output-file constraints.txt >/dev/null; \
	! grep -n '://' constraints.txt

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lobule needs Python 3.11 or newer: make PYTHON=python3.11")'
	@echo "Setting up $(VENV) (a few minutes, the first time only)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-run: $(INPUTS) | $(VENV)/bin/python
	@$(INSTALL) -e .
	@touch $@

# The larger set of packages serves `make run` too.
$(VENV)/.installed-test: $(INPUTS) | $(VENV)/bin/python
	@$(INSTALL) -e '.[test,oracle,distributed]'
	@touch $(VENV)/.installed-run $@

$(VENV)/.installed-docs: $(INPUTS) | $(VENV)/bin/python
	@$(INSTALL) -e '.[docs]'
	@touch $(VENV)/.installed-run $@
