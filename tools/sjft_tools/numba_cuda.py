"""numba's compiler for GPUs: `from sjft_tools.numba_cuda import cuda`."""

from __future__ import annotations

import numpy as np

# numba-cuda 0.30, the newest in November 2026, asks NumPy for row_stack, which NumPy 2.5 dropped.
if not hasattr(np, "row_stack"):
    np.row_stack = np.vstack

from numba import config, cuda

__all__ = ["SIMULATED", "cuda"]

#: Whether numba simulates a GPU on the CPU (NUMBA_ENABLE_CUDASIM=1).
SIMULATED: bool = config.ENABLE_CUDASIM  # type: ignore[attr-defined]
