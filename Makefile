# Every target brings the virtual environment up to date first; an unchanged one costs nothing.
# Variables: HPO_TRIALS HPO_STUDY HPO_SPACE HPO_DATA HPO_WORKERS HPO_TIMEOUT HPO_EPOCHS HPO_ARGS (any further override).

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.up-to-date

export HPO_HOME ?= $(CURDIR)/.hpo

quoted = '$(subst ','\'',$(1))'
override_trials  = $(if $(HPO_TRIALS),trials=$(call quoted,$(HPO_TRIALS)))
override_epochs  = $(if $(HPO_EPOCHS),epochs=$(call quoted,$(HPO_EPOCHS)))
override_study   = $(if $(HPO_STUDY),study=$(call quoted,$(HPO_STUDY)))
override_space   = $(if $(HPO_SPACE),--space $(call quoted,$(HPO_SPACE)))
override_data    = $(if $(HPO_DATA),--data $(call quoted,$(HPO_DATA)))
override_workers = $(if $(HPO_WORKERS),worker.num_workers=$(call quoted,$(HPO_WORKERS)))
override_timeout = $(if $(HPO_TIMEOUT),--timeout $(call quoted,$(HPO_TIMEOUT)))
CAMPAIGN = $(override_study)
RUN = $(override_trials) $(override_epochs) $(override_study) $(override_space) $(override_data) $(override_workers) $(override_timeout)

# A command's exit code is passed on as it is; make itself would turn every failure into 2.
.PHONY: help
help: ## Show the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' Makefile
	@echo "Variables: HPO_TRIALS=20 HPO_STUDY=name HPO_SPACE=name|file HPO_DATA=file HPO_WORKERS=n HPO_TIMEOUT=30m HPO_EPOCHS=400 HPO_ARGS='key=value ...'"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3." >&2; exit 3; }
	@test -x $(BIN)/python || { echo "Making the virtual environment $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the pinned packages (one to three minutes the first time) ..."
	@if command -v uv > /dev/null; then \
		uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'; \
	else \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'; \
	fi
	@touch $@

.PHONY: hpo-setup
hpo-setup: $(STAMP) ## Make the environment, start the database, migrate, check the device
	@$(BIN)/hpo setup

.PHONY: hpo-run
hpo-run: $(STAMP) ## Run a campaign (or go on with it): make hpo-run HPO_TRIALS=20
	@$(BIN)/hpo run $(RUN) $(HPO_ARGS)

.PHONY: hpo-resume
hpo-resume: $(STAMP) ## Continue an interrupted campaign; a larger HPO_TRIALS raises its budget
	@$(BIN)/hpo resume $(override_trials) $(override_epochs) $(override_study) $(override_workers) $(override_timeout) $(HPO_ARGS)

.PHONY: hpo-status
hpo-status: $(STAMP) ## Show tiers, running trials, the best so far
	@$(BIN)/hpo status $(CAMPAIGN) $(HPO_ARGS)

.PHONY: hpo-report
hpo-report: $(STAMP) ## Write the campaign's report (HTML and JSON)
	@$(BIN)/hpo report $(CAMPAIGN) $(HPO_ARGS)

.PHONY: optuna-dashboard
optuna-dashboard: $(STAMP) ## Open optuna-dashboard on this database (loopback)
	@$(BIN)/hpo dashboard optuna $(HPO_ARGS)

.PHONY: mlflow-ui
mlflow-ui: $(STAMP) ## Open the MLflow UI on this database (loopback)
	@$(BIN)/hpo dashboard mlflow $(HPO_ARGS)

.PHONY: smoke
smoke: $(STAMP) ## A two-minute check that everything works: four small trials in a scratch folder
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && HPO_HOME="$$scratch/hpo" $(BIN)/hpo run trials=4 trainer.train.epochs=3

.PHONY: demo
demo: $(STAMP) ## A five-minute tour on the built-in market: search, status, champion, comparison, report
	@study=demo-$$(date +%Y%m%d-%H%M%S); \
	tour() { printf '\n$$ hpo %s\n' "$$*"; $(BIN)/hpo "$$@"; }; \
	tour run study=$$study trials=20 && tour status study=$$study && tour best study=$$study && \
	{ tour compare $$study $$study#1 || true; } && \
	printf '\nLook at it:  %s\nGo further:  make hpo-resume HPO_STUDY=%s HPO_TRIALS=40\n' \
		"$$HPO_HOME/reports/$$study/report.html" $$study

.PHONY: train
train: $(STAMP) ## Train one configuration: make train HPO_ARGS='model.hidden_size=64'
	@$(BIN)/trainer $(HPO_ARGS)

.PHONY: test
test: $(STAMP) ## Run the whole test suite
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(HPO_ARGS)

.PHONY: coverage
coverage: $(STAMP) ## Run the test suite and say what of the code it reaches; fails under 95 % of lines or 90 % of branches
	@$(BIN)/coverage erase
	@COVERAGE_FILE=$(CURDIR)/.coverage $(BIN)/coverage run -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(HPO_ARGS)
	@COVERAGE_FILE=$(CURDIR)/.coverage $(BIN)/python .ci/covered.py

.PHONY: test-faults
test-faults: $(STAMP) ## Kill, starve and confuse the search at every named point, and print what it cost
	@$(BIN)/python -m pytest tests/faults -m 'slow_faults or not slow_faults' $(HPO_ARGS)

.PHONY: reference
reference: $(STAMP) ## Write docs/settings.md and docs/commands.md from the classes and the parser
	@$(BIN)/python docs/reference.py

.PHONY: pictures
pictures: $(STAMP) ## Draw the README's pictures from a campaign that was run here (needs Chromium)
	@$(BIN)/python docs/pictures.py $(HPO_STUDY)

.PHONY: docs
docs: $(STAMP) ## Build the documentation as a site in site/; a link that leads nowhere is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict && echo "Open site/index.html"

.PHONY: check
check: $(STAMP) ## Format, lint, types, import arrows
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: audit
audit: $(STAMP) ## Known vulnerabilities of the installed packages (asks the network)
	@$(BIN)/python .ci/audit.py

.PHONY: bench
bench: $(STAMP) ## Measure the trainer, the ledger and the search beside their references
	@for bench in trainer ledger training_path search; do echo "== $$bench"; $(BIN)/python -m benchmarks.$$bench || exit 1; done

.PHONY: clean
clean: ## Remove the virtual environment and caches; the campaigns in .hpo stay
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
