"""Check of a GPU: convolution and matrix product on it, forward and backward, beside the CPU."""

from __future__ import annotations

import json
import math
import sys

from sjft_tools.caffe_process import reason, run_process
from sjft_tools.checks.report import CheckFailed, Report

#: Relative to the largest value: what float32 loses. TF32, which would lose more, is turned off.
TOLERANCE = 1e-4


def check_gpu(report: Report, device: int) -> None:
    """Make the check on the GPU of number `device`."""
    report.check(f"GPU {device}", lambda: gpu(device), "")


def gpu(device: int) -> tuple[None, str]:
    """Compute on the GPU, in a process of its own: CUDA's errors end the process."""
    command = [sys.executable, "-m", "sjft_tools.checks.gpu_probe", str(device)]
    status, output = run_process(command, NVIDIA_TF32_OVERRIDE="0")
    if status != 0:
        why = reason(status, output)
        raise CheckFailed(f"Caffe cannot compute on it: {why}", _remedy(output))
    errors = json.loads(output.splitlines()[-1])["errors"]
    # What is no number is worse than any.
    worst = max(errors, key=lambda name: (math.isnan(errors[name]), errors[name]))
    detail = f"{worst} differs most from the CPU, by {errors[worst]:.1e} of its largest value"
    if not errors[worst] <= TOLERANCE:
        raise CheckFailed(
            f"{detail}, where {TOLERANCE:.0e} is expected",
            "build Caffe again for this GPU: make caffe CUDA=1",
        )
    return None, detail


def _remedy(output: str) -> str:
    if "CPU_ONLY" in output or "CPU-only" in output:
        return "this Caffe was built for the CPU alone: make caffe CUDA=1"
    if "no kernel image" in output:
        return "this Caffe was built for other GPUs: make caffe CUDA=1 on this machine"
    return "see whether 'nvidia-smi' lists the GPU: it needs a driver as new as Caffe's CUDA"
