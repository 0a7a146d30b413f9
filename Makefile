# Needs nothing but Python 3.11 or newer and make; everything else goes into .venv.
#   make demo     fills in a photograph, sharpens one, brackets a network, trains a small
#                 GAN: build/demo
#   make test     format, lint, types, import contracts, tests, coverage
#   make bench    against other solvers; LIPSCHITZ='--cases he-1x50' RECOVERY=...
#                 DECONVOLUTION=... NOISE=... MINIMAX=... GAN=... for less
#   make interop  bridges against the real DeepInverse: 6 GB, build/interop
#   make format   put the source into its one format
#   make clean    remove .venv, build and caches

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo
INTEROP := build/interop
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt

# Every process computes with one thread: the tests are many small problems, which
# more threads only slow down, and results then do not depend on the machine.
test interop: export OMP_NUM_THREADS := 1
test interop: export MKL_NUM_THREADS := 1
test interop: export OPENBLAS_NUM_THREADS := 1
test interop: export NO_SKIPS := 1

.PHONY: demo test bench interop format clean
.DELETE_ON_ERROR:

demo: $(VENV)/.package
	$(BIN)/tacit recover examples/matrices/photo.npz \
		--out $(DEMO)/photo --json $(DEMO)/photo.json
	$(BIN)/tacit deconvolve examples/signals/shaken-1.png --kernel-size 5 \
		--signal-basis examples/signals/scene-wavelets.npz --noise 0.01 \
		--out $(DEMO)/sharp --json $(DEMO)/sharp.json
	$(BIN)/tacit lipschitz examples/models/digits_dense.onnx \
		--out $(DEMO)/digits --json $(DEMO)/digits.json
	$(BIN)/tacit gan mean-matching --width 200 \
		--out $(DEMO)/saddle --json $(DEMO)/saddle.json
	rm -rf $(DEMO)/gan
	$(BIN)/tacit gan digits --width 16 --steps 1500 \
		--out $(DEMO)/gan --json $(DEMO)/gan.json
	@echo "Written by the demo:"
	@find $(DEMO) -type f | sort | sed 's/^/  /'

test: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright --project pyproject.toml --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --cov

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/lipschitz.py --json build/bench-lipschitz.json $(LIPSCHITZ)
	$(BIN)/python benchmarks/recovery.py --json build/bench-recovery.json $(RECOVERY)
	$(BIN)/python benchmarks/deconvolution.py --json build/bench-deconvolution.json \
		--out build/bench-deconvolution $(DECONVOLUTION)
	$(BIN)/python benchmarks/deconvolution_noise.py --json build/bench-noise.json $(NOISE)
	$(BIN)/python benchmarks/minimax.py --json build/bench-minimax.json $(MINIMAX)
	$(BIN)/python benchmarks/gan.py --json build/bench-gan.json $(GAN)

interop: $(INTEROP)/.installed
	$(INTEROP)/bin/python -m pytest tests/interop

format: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf $(VENV) build dist .coverage .hypothesis .import_linter_cache \
		.pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than what it was installed from, so a second call installs nothing.
$(VENV)/.package: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tacit needs Python 3.11 or newer, $(PYTHON) is older:" \
		"call 'make PYTHON=python3.11' with one that you have"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --upgrade pip
	$(PIP_INSTALL) --build-constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.package
	$(PIP_INSTALL) --group dev
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(PIP_INSTALL) --group bench
	@touch $@

# DeepInverse brings torchvision and CUDA: an environment of its own, 6 GB.
$(INTEROP)/.installed: pyproject.toml constraints.txt tests/interop/requirements.txt
	$(PYTHON) -m venv $(INTEROP)
	$(INTEROP)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --upgrade pip
	$(INTEROP)/bin/python -m pip install --quiet --disable-pip-version-check \
		--build-constraint constraints.txt \
		--requirement tests/interop/requirements.txt --editable .
	@touch $@
