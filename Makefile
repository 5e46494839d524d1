# Everything from a fresh clone to the tests; `make` lists the targets.
#
#   CAFFE_ROOT=/some/caffe  a Caffe you already have, instead of the one built here
#   CUDA=1                  for NVIDIA GPUs; CUDA_ARCH="80 90" names other GPUs than those present
#   SLIM=1                  without OpenCV, HDF5 and LevelDB
#   PYTHON=/path/python3    the Python that that Caffe is linked to   (/usr/bin/python3)
#   SJFT_CACHE=DIR          where the built Caffe is kept             (~/.cache/sjft)

SHELL := /bin/bash
ENV := . ./env.sh &&

.PHONY: help caffe venv dev demo bundle test lint unit gpu prototxt clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## */  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18
	@sed -n 's/^#   /  /p' $(MAKEFILE_LIST)

venv:
ifdef CAFFE_ROOT
	@. tools/caffe/layout.sh && sjft_caffe_layout "$$CAFFE_ROOT"
else
	@tools/caffe/packages.sh
endif
	@tools/caffe/venv.sh caffe demo

caffe: venv  ## get and build Caffe and the Python packages; checks a CAFFE_ROOT
ifndef CAFFE_ROOT
	@tools/caffe/build.sh
endif
ifneq ($(CUDA),1)
	@$(ENV) sjft check
else
	@$(ENV) if nvidia-smi --list-gpus >/dev/null 2>&1; then sjft check --gpu 0; else sjft check && \
	    echo "make caffe: no GPU is present: the build is complete, and nothing was computed on one"; fi
endif

dev: caffe
	@tools/caffe/venv.sh caffe demo dev

demo: caffe  ## the whole job on embedded data: pictures and figures in build/demo/
	@$(ENV) sjft demo

bundle: caffe  ## pack Caffe, Python and sjft for a machine without network: build/sjft-bundle.tar.xz
	@tools/caffe/packages.sh patchelf
	$(ENV) sjft bundle build/sjft-bundle.tar.xz --force

test: lint unit  ## format, lint, types and all tests, against the real Caffe

lint: dev
	$(ENV) ruff check .
	$(ENV) ruff format --check .
	$(ENV) mypy

unit: dev
	$(ENV) pytest

gpu:  ## on a machine with an NVIDIA GPU: what needs one, tested and measured into build/benchmarks/gpu/
	@nvidia-smi --list-gpus >/dev/null 2>&1 || { echo "make gpu: error: nvidia-smi lists no GPU here;" \
	    "run this on a machine with an NVIDIA GPU and its driver" >&2; exit 1; }
	@$(MAKE) --no-print-directory dev CUDA=1
	@tools/caffe/venv.sh gpu
	$(ENV) python benchmarks/gpu.py --out build/benchmarks/gpu

prototxt: caffe  ## regenerate the nets under prototxt/
	$(ENV) sjft prototxt --force

clean:  ## remove what was built in this checkout (the cached Caffe and data/ stay)
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
