# Two commands matter: `make demo` and `make test`. Each makes the environment it needs, once.
PYTHON ?= python3
PYTHON310 ?= $(firstword $(shell python3.10 -c 'import sys; print(sys.executable)' 2>/dev/null) \
                         $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python3.10))

# Another index to take packages from as well, such as PyTorch's own with wheels for the CPU:
# make INDEX=https://download.pytorch.org/whl/cpu demo
INDEX ?=

# One thread for each of the two test processes.
PYTEST = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(1)/bin/python -m pytest -n 2 --dist worksteal

.PHONY: demo test lint test-inf1 test-inf2 test-serving site train fonts clean

demo: .venv/.ready
	.venv/bin/python -m neuronkit.demo

test: lint
	$(call PYTEST,.venv) -m "not torchvision and not peers and not xla and not inf1 and not inf2 and not serving"

lint: .venv/.ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test-inf1: .venv-inf1/.ready
	$(call PYTEST,.venv-inf1) -m "not peers and not xla and not inf2 and not torch2 and not tooling and not serving and not runtimes"

test-inf2: .venv-inf2/.ready
	PJRT_DEVICE=CPU $(call PYTEST,.venv-inf2) -m "not inf1 and not tooling and (peers or not arrays) and not serving and not runtimes"

test-serving: .venv-serving/.ready
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 .venv-serving/bin/python -m pytest -m serving

# The pages as a site in build/site, with the notebook executed.
site: .venv/.ready
	NEURONKIT_SITE_EXECUTE=true NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

# The demo's weights: words and pages in the fonts of matplotlib, then scenes in those of Debian, then both.
train: .venv-train/.ready
	.venv-train/bin/python -m tools.demo.train --out runs/plain
	.venv-train/bin/python -m tools.demo.scenes.shards --out runs/shards
	.venv-train/bin/python -m tools.demo.train --start runs/plain --shards runs/shards --scenes --out runs/scenes
	.venv-train/bin/python -m tools.demo.train --start runs/scenes --shards runs/shards --scenes --own-words --out runs/both

# Fonts and words for the scenes; as root.
fonts:
	apt-get install --yes --no-install-recommends $(shell cut -d' ' -f1 tools/demo/scenes/packages.txt)

clean:
	rm -rf .venv .venv-inf1 .venv-inf2 .venv-serving .venv-train build dist out *.egg-info

.venv/.ready: requirements/dev.txt
.venv-inf1/.ready: requirements/inf1.txt
.venv-inf2/.ready: requirements/inf2.txt
.venv-serving/.ready: requirements/serving.txt
.venv-train/.ready: requirements/train.txt
.venv-inf1/.ready: PYTHON = $(PYTHON310)

.venv%/.ready: requirements/base.txt requirements/test.txt pyproject.toml
	$(call make_environment,.venv$*,$(patsubst -%,%,$*))

.venv/.ready: requirements/base.txt requirements/test.txt pyproject.toml
	$(call make_environment,.venv,dev)

# Modules are compiled as they are imported: most of an environment's never are.
define make_environment
	test -n "$(PYTHON)" || { echo "Python 3.10 is missing; install it or pass PYTHON310=/path/to/python3.10" >&2; exit 1; }
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile $(if $(INDEX),--extra-index-url $(INDEX)) -r requirements/$(2).txt
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(1)/.ready
endef
