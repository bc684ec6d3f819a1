# `make` lists the targets. Everything that is missing is installed: a venv here, Java, Maven, PostgreSQL and (for tests) Chromium with apt-get.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help install package upgrade up servers down start demo test thorough chaos brokers autonomy growth secured privacy lint docs simulate fuzz bench clean

PYTHON ?= python3
VENV ?= .venv
STAMP := $(VENV)/.installed
# The options of one run: `make test ARGS="tests/unit -x"`, `make demo DATA=sales.csv.gz`, `make simulate SEEDS=10000`,
# `make fuzz MINUTES=60`.
ARGS ?=
DATA ?=
ALL ?=
ONCE ?=
SEEDS ?= 2000
FIRST ?= 0
MINUTES ?= 10
BROKERS ?=
# All tests run in three processes, of which two wait while the third computes: see tests/side_by_side.py.
SIDE_BY_SIDE := -p tests.side_by_side -n 3
# Tests that `make test` does shortly, and that no other target has.
THOROUGH = tests/e2e/test_openapi.py tests/e2e/test_access.py tests/e2e/test_takeover_time.py tests/e2e/test_tables_exact.py \
	tests/simulation tests/bench \
	tests/unit/shop/test_checkout_model.py tests/unit/shop/test_analytics_on_sales.py \
	$(shell grep -rl --include='test_*.py' '^from hypothesis import' tests/unit)
# The original "Online Retail" file, for tests that use it beside generated sales: `make test SALES=retail.csv.gz`.
SALES ?=
export SALES
# Where `make chaos` writes its table.
REPORT ?= .servers/chaos.md
export PATH := $(abspath $(VENV)/bin):$(PATH)
export PYTHONUNBUFFERED := 1
# Hundreds of workers are started by the tests, and each would compile all of this anew.
unexport PYTHONDONTWRITEBYTECODE
APT := $(if $(filter 0,$(shell id -u)),,sudo )env DEBIAN_FRONTEND=noninteractive apt-get

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(STAMP) ## the venv with everything in it

upgrade: ## the newest of all that pyproject.toml allows, into the venv and constraints.txt; then: make test
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@sed -i.old '/^#/!d' constraints.txt && rm constraints.txt.old
	@$(VENV)/bin/python -m pip freeze --exclude-editable >> constraints.txt
	@touch $(STAMP)

up: ## Kafka, Cassandra and PostgreSQL on this machine; returns when they answer (BROKERS=3: three brokers)
	@$(PYTHON) -m servers up $(if $(BROKERS),--brokers $(BROKERS))

servers: # all that the tests use: a schema registry too
	@$(PYTHON) -m servers up --all

down: ## stop them, and the workers of make start and make demo
	@$(PYTHON) -m servers down

start: $(STAMP) ## one worker of each kind in the foreground; Ctrl-C stops them all
	@python -m servers up --needed
	@python -m servers record start honcho start

demo: $(STAMP) ## a month of sales replayed, the answers printed (DATA=file.csv[.gz]; ALL=1: all of it; ONCE=1: then stop)
	@python -m examples.demo $(if $(DATA),--data '$(DATA)') $(if $(ALL),--all) $(if $(ONCE),--once)

test: $(STAMP) servers lint ## all tests, on real servers; ARGS="tests/unit -x" for some
	python -m pytest $(or $(ARGS),$(SIDE_BY_SIDE))

thorough: $(STAMP) servers ## the long forms of tests that `make test` does shortly, but for those of the targets below; ARGS="-k openapi" for some
	python -m pytest $(THOROUGH) --full -o faulthandler_timeout=1800 $(ARGS)

chaos: $(STAMP) ## all faults under load, on servers of their own, in under 20 minutes; ARGS="-k cassandra" for some
	python -m pytest tests/chaos --full --report $(REPORT) -o faulthandler_timeout=600 $(ARGS)

brokers: $(STAMP) ## three brokers, killed, paused and restarted under load, in the clear and secured; ARGS="-k hangs" for some
	python -m pytest tests/brokers --full --report .servers/brokers.md -o faulthandler_timeout=600 $(ARGS)

autonomy: $(STAMP) servers ## each context, the broker, and each pair of them down while orders are placed; ARGS="-k broker" for some
	python -m pytest tests/autonomy/test_matrix.py --full --report .servers/autonomy.md -o faulthandler_timeout=600 $(ARGS)

growth: $(STAMP) servers ## logs split and merged under load, workers killed and stopped meanwhile; ARGS="-k nothing" for some
	python -m pytest tests/growth --full --report .servers/growth.md -o faulthandler_timeout=600 $(ARGS)

privacy: $(STAMP) servers ## a thousand persons, a third of them forgotten, looked for in the raw files of all servers, on each store; STORES=sqlite for some
	for store in $(or $(STORES),sqlite postgres cassandra); do \
		PRIVACY_JOURNAL=$$store PRIVACY_PEOPLE=1000 python -m pytest tests/e2e/test_privacy.py -q -rP -o faulthandler_timeout=1800 $(ARGS) || exit 1; done
	PERSON_SCHEDULES=1000 python -m pytest tests/simulation/test_persons.py -q

secured: $(STAMP) servers ## tests/e2e with TLS and logins everywhere, and only the rights that apps print; ARGS="-k gateway" for some
	python -m tests.secured.servers up
	python -m pytest tests/e2e tests/security/test_each_right.py --secured --full -o faulthandler_timeout=900 $(or $(ARGS),-p tests.side_by_side -n 2); code=$$?; \
		python -m tests.secured.servers down; exit $$code

lint: $(STAMP) ## ruff, mypy in strict mode, and whether a change of the schemas would break somebody
	ruff check .
	mypy
	faust -A projections.shop.app schemas check

package: $(STAMP) ## the wheel in a venv of its own, with all that it depends on installed anew; a project made there, and its tests
	python -m tests.package

docs: $(STAMP) ## the documentation as a site, in build/site; a link that leads nowhere ends it
	@python -m documentation

simulate: $(STAMP) ## schedules with faults in a simulated world, each from a seed (SEEDS=10000; FIRST=0)
	python -m tests.simulation --seeds $(SEEDS) --first $(FIRST) $(ARGS)

fuzz: $(STAMP) ## hostile bytes for everything that reads bytes from outside (MINUTES=60; ARGS="--only 'an event'")
	python -m tests.fuzz --minutes $(MINUTES) $(ARGS)

bench: $(STAMP) up ## how fast it is here, beside its rivals: about 30 minutes; ARGS=commands for a part, ARGS=--help
	python -m tests.bench $(ARGS)

clean: down ## stop all, delete the servers with their data and every local file; the venv stays
	rm -rf .servers .data build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "installing python3-venv"; $(APT) update -q >/dev/null && $(APT) install -y -q python3-venv >/dev/null; } \
		|| { echo "the venv module is missing: install python3-venv, then try again"; exit 1; }
	@echo "installing into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	@touch $@
