# Everything a person or CI runs. Each target sets up what it needs, on a machine that has nothing
# but Python (3.11 or newer), make and a package index.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: run test check bench site fuzz lock tools clean

run: $(READY)           ## the demo: a proxy, upstreams that misbehave, and a little traffic
	$(BIN)/octollm-proxy demo

test: $(READY) tools    ## every check and every test, with branch coverage
	$(MAKE) --no-print-directory check
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto --dist loadfile
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(READY)         ## format, lint, types, floors: under two minutes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py

# Envoy, Caddy and what draws. HAProxy and nginx are Debian's; who is not installed is left out.
$(VENV)/.bench: $(READY) requirements/bench.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

bench: $(VENV)/.bench   ## tables and chart of docs/performance.md, measured on this machine
	@command -v wrk >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq wrk >/dev/null; \
	  else echo "wrk is missing (Debian: apt-get install wrk)"; exit 1; fi; }
	$(BIN)/python benchmarks/overhead.py

site: $(READY)          ## docs/ as a site, in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

fuzz: $(READY)          ## look for bytes that break the wire: a minute for each side
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group fuzz
	$(BIN)/python tests/exactness/search.py caller -max_total_time=60 -max_len=1200
	$(BIN)/python tests/exactness/search.py origin -max_total_time=60 -max_len=1200

lock: $(READY)          ## resolve the dependencies anew, with hashes
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate -o requirements/runtime.txt pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --group dev -o requirements/dev.txt pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --group bench -c requirements/dev.txt -o requirements/bench.txt

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name it with make PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# What tests run beside the proxy: Prometheus (promtool checks rules and /metrics), Redis, and a
# browser for the status page. Only root can install them; without one its tests are skipped by name.
TOOLS := promtool:prometheus redis-server:redis-server chromium:chromium
tools:
	@missing=; for tool in $(TOOLS); do \
	  command -v $${tool%%:*} >/dev/null || missing="$$missing $${tool##*:}"; done; \
	[ -z "$$missing" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends $$missing >/dev/null; } \
	|| echo "missing, and their tests skipped (Debian: apt-get install$$missing)"

clean:
	rm -rf $(VENV) .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
