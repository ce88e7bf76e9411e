# Everything sets itself up: a machine with python3 (3.10 or newer, with venv) and make is enough.
PYTHON ?= python3
# Test processes at a time. The tests start many processes of their own.
JOBS ?= 2

# Before anything is made: pip would name the first package that it does not find.
define NEW_ENOUGH
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	"$(PYTHON) is Python %d.%d.%d; nodexfer needs 3.10 or newer." % sys.version_info[:3] + \
	"\nNext: make $(MAKECMDGOALS) PYTHON=/path/of/a/newer/python3")'
endef

PIP = -m pip --disable-pip-version-check --quiet install
RUN = .venv/bin/python -m
PYTEST = $(RUN) pytest -q
READY = .venv/.ready
ALL_READY = $(READY) .venv-cli/.ready .venv-sdk3/.ready

# An interpreter that may not keep its bytecode compiles everything at every start: ten times what a command costs.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-fast test-slow test-conformance test-root test-cluster test-compute test-sdk3 test-kills simulate chaos prove prove-points prove-machine prove-simulation prove-chaos lint bench lock clean distclean
.DELETE_ON_ERROR:

help:
	@echo 'make demo              five jobs share one endpoint, on real bytes, without an account'
	@echo 'make test              everything that needs neither root nor a network (after the set-up)'
	@echo 'make test-fast         the tests that take seconds'
	@echo 'make test-slow         whole processes and whole flows'
	@echo 'make test-conformance  the real globus-sdk 3.65 and 4.x and globus-cli drive the sandbox'
	@echo 'make test-root         what needs root: namespaces'
	@echo 'make test-cluster      a real Slurm of several nodes on this machine (root; installs it); prints its figures'
	@echo 'make test-compute      the real Globus Compute endpoint and SDK against the sandbox and its broker (installs rabbitmq-server as root)'
	@echo 'make test-sdk3         the integration tests of Parsl and Globus Compute with endpoint 4.6 and globus-sdk 3.65'
	@echo 'make test-kills        workers, managers and blocks of a Parsl workflow killed at random, 50 times (ROUNDS= SEED=)'
	@echo 'make simulate          1,000 nodes and 10,000 jobs in virtual time, 20 seeds (NODES= JOBS_OF= POOL= SEEDS= or SEED=)'
	@echo 'make chaos             kill, cut, freeze and refuse for a minute while jobs move data (CHAOS_JOBS= MINUTES= SEED=)'
	@echo 'make prove             all of: prove-points (every crash point), prove-machine, prove-simulation (a pool of 50,'
	@echo '                       of 10), prove-chaos (five seeds); each prints its figure'
	@echo 'make lint              ruff and mypy'
	@echo 'make bench             the figures of the README; build/bench.json'
	@echo 'make lock              write requirements/ anew from what is installed in .venv*'
	@echo 'make clean, distclean  remove what was built; the environments as well'

demo: $(READY)
	.venv/bin/nodexfer demo

test: $(ALL_READY) lint test-fast test-slow test-conformance

lint: $(READY)
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

test-fast: $(READY)
	$(PYTEST) -n $(JOBS) -m 'not slow and not conformance and not root and not compute'

test-slow: $(READY)
	$(PYTEST) -n $(JOBS) -m 'slow and not conformance and not root and not compute'

test-conformance: $(ALL_READY)
	$(PYTEST) -n $(JOBS) -m 'conformance and not root'

test-root: $(ALL_READY)
	@test "$$(id -u)" = 0 || { echo 'make test-root needs root: it makes mount and network namespaces.'; exit 1; }
	$(PYTEST) -m 'root and not cluster'

# In its own order: a cluster of each kind is made once. Gone at the end, however it ends.
test-cluster: $(READY)
	@test "$$(id -u)" = 0 || { echo 'make test-cluster needs root: it makes namespaces, and starts jobs as another user.'; exit 1; }
	$(PYTEST) -p no:randomly -s -m cluster tests/cluster

# One broker after the other: each wants a processor to itself while it starts.
test-compute: $(ALL_READY)
	$(PYTEST) -p no:randomly -m compute tests

# With what people have who have not moved on yet: the last globus-sdk 3, and the endpoint and Parsl that go with it.
test-sdk3: $(ALL_READY)
	.venv-sdk3/bin/python -m pytest -q -n $(JOBS) tests/integration/test_parsl*.py tests/integration/test_compute*.py

ROUNDS ?= 50
test-kills: $(READY)
	$(RUN) tests.kills --rounds $(ROUNDS) --seed $(or $(SEED),1)

NODES ?= 1000
JOBS_OF ?= 10000
POOL ?= 50
SEEDS ?= 20

simulate: $(READY)
	$(RUN) tests.simulation --nodes $(NODES) --jobs $(JOBS_OF) --pool $(POOL) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --workers $(JOBS))

CHAOS_JOBS ?= 12
MINUTES ?= 1
chaos: $(READY)
	.venv/bin/nodexfer sandbox chaos --jobs $(CHAOS_JOBS) --minutes $(MINUTES) --seed $(or $(SEED),1)

# The same tests that `make test` runs, at every point instead of one of several; each part prints its figure.
prove: prove-points prove-machine prove-simulation prove-chaos

prove-points: $(READY)
	NODEXFER_EVERY_POINT=1 $(PYTEST) -n $(JOBS) -p no:randomly -o timeout=3600 tests/crash

prove-machine: $(READY)
	NODEXFER_EVERY_POINT=1 $(PYTEST) -p no:randomly -o timeout=1200 tests/property

prove-simulation: $(READY)
	$(MAKE) simulate POOL=50
	$(MAKE) simulate POOL=10

prove-chaos: $(READY)
	for seed in 1 2 3 4 5; do $(MAKE) chaos CHAOS_JOBS=30 MINUTES=3 SEED=$$seed || exit 1; done

bench: $(ALL_READY)
	@mkdir -p build
	.venv/bin/python -m benchmarks

# nodexfer itself is installed from this directory, by a builder that the lock names as well: nothing floats.
$(READY): requirements/dev.txt pyproject.toml
	@$(NEW_ENOUGH)
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) -r requirements/dev.txt
	.venv/bin/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# globus-cli and globus-compute-endpoint want different releases of globus-sdk, and both of its lines are tested.
.venv-cli/.ready: requirements/globus-cli.txt
	@$(NEW_ENOUGH)
	$(PYTHON) -m venv .venv-cli
	.venv-cli/bin/python $(PIP) -r $<
	@touch $@

.venv-sdk3/.ready: requirements/sdk3.txt pyproject.toml
	@$(NEW_ENOUGH)
	$(PYTHON) -m venv .venv-sdk3
	.venv-sdk3/bin/python $(PIP) -r $<
	.venv-sdk3/bin/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

lock:
	$(PYTHON) requirements/lock.py

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find nodexfer tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-cli .venv-sdk3
