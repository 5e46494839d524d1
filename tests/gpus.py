"""Whether Caffe or torch can use a GPU here; tests that need one are skipped where not."""

from __future__ import annotations

import functools
import sys

import pytest

from sjft_tools.caffe_process import reason, run_process

# Caffe ends the process that asks for a GPU where it has none.
_PROBE = "import caffe; caffe.set_mode_gpu(); caffe.set_device(0)"


@functools.cache
def why_no_gpu() -> str:
    """Return why Caffe cannot use a GPU here, "" if it can."""
    status, output = run_process([sys.executable, "-c", _PROBE])
    return reason(status, output) if status else ""


def require_caffe_on_a_gpu() -> None:
    """Skip the test where Caffe cannot use a GPU."""
    if why_no_gpu():
        pytest.skip("needs a GPU and a Caffe built with CUDA")


def require_torch_on_a_gpu() -> None:
    """Skip the test where torch is missing or cannot use a GPU."""
    if not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("needs a GPU and a torch that can use it")


def require_caffe_for_the_cpu() -> None:
    """Skip the test where Caffe was built with CUDA, or says of a missing GPU something else."""
    if "CPU-only" not in why_no_gpu():
        pytest.skip("this Caffe was built for a GPU")
