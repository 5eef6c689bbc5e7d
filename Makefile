# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check check-long coverage docs release release-files clean

demo: $(VENV)/.installed
	$(BIN)/styleatlas demo --out demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not long and not alone"
	$(BIN)/python -m pytest -m "not long and alone"

check: $(VENV)/.installed-dev
	scripts/check

check-long: $(VENV)/.installed-test
	scripts/check-long

# All of a release but its upload; and the files alone, of a tree as it is.
release: $(VENV)/.installed-dev
	scripts/release

release-files: $(VENV)/.installed-dev
	scripts/release files

# The site of docs/, in build/site.
docs: $(VENV)/.installed-test
	scripts/docs

# What the tests run of the package, with the lines that they never reach.
coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --cov --cov-report=term-missing

$(VENV)/.installed: pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV):
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build demo dist *.egg-info
