"""The exact distances of single pairs on a GPU, compiled by numba: a block of threads each."""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable

import numpy as np
from numba import int64

from sjft_tools.distance import QUANTUM, LayerTables
from sjft_tools.numba_cuda import SIMULATED, cuda

# A power of two: partial sums are added in pairs.
_THREADS = 32 if SIMULATED else 256

#: units(targets, sources, rows, columns, layer, tables) -> each pair's sum in units of QUANTUM
Units = Callable[..., np.ndarray]


@cuda.jit
def _add_units(  # type: ignore[no-untyped-def]
    targets, sources, rows, columns, start, stop, mask, share, log, per_unit, out
):
    """Write the sum over dimensions start..stop-1 of the pair blockIdx.x.

    No operation here can be fused with another, nor its order matter: the terms are integers when
    they are added.
    """
    pair, thread = cuda.blockIdx.x, cuda.threadIdx.x
    row, column = rows[pair], columns[pair]
    partial = cuda.shared.array(_THREADS, int64)
    total = int64(0)
    for i in range(start + thread, stop, _THREADS):
        p, q = targets[row, i] & mask, sources[column, i] & mask
        if p != q:
            total += int64(round((share[p] - share[q]) * (log[p] - log[q]) * per_unit))
    partial[thread] = total
    cuda.syncthreads()
    width = _THREADS // 2
    while width:
        if thread < width:
            partial[thread] += partial[thread + width]
        cuda.syncthreads()
        width //= 2
    if thread == 0:
        out[pair] = partial[0]


def units(
    targets: Any, sources: Any, rows: Any, columns: Any, layer: LayerTables, tables: tuple[Any, Any]
) -> np.ndarray:
    """Return a layer's sum for each pair (targets[rows[i]], sources[columns[i]]): int64 (n,).

    `targets`, `sources`: counts as signed integers of their size, N x dimensions; `rows`,
    `columns`: int64 (n,); `tables`: the layer's share and log, float64; all of them torch's tensors
    on the GPU, or on the CPU where numba simulates one.
    """
    out = rows.new_zeros(len(rows))
    if len(rows):
        mask = np.int64(0xFFFF if targets.element_size() == 2 else 0xFFFFFFFF)
        arrays = map(_as_numba, (targets, sources, rows, columns))
        bounds = (layer.start, layer.stop, mask)
        on_gpu = (_as_numba(tables[0]), _as_numba(tables[1]))
        _add_units[len(rows), _THREADS](*arrays, *bounds, *on_gpu, 1 / QUANTUM, _as_numba(out))
    return out.cpu().numpy()


def _as_numba(tensor: Any) -> Any:
    """Return the same memory as an array of numba's."""
    return tensor.numpy() if SIMULATED else cuda.as_cuda_array(tensor)


@functools.cache
def compiled_units() -> Units | None:
    """Return units(), or None, and say why, where numba cannot compile for this GPU."""
    import torch

    device = "cpu" if SIMULATED else "cuda"
    counts = torch.zeros((1, 1), dtype=torch.int16, device=device)
    place = torch.zeros(1, dtype=torch.int64, device=device)
    table = np.zeros(1)
    on_gpu = torch.zeros(1, dtype=torch.float64, device=device)
    layer = LayerTables(0, 1, table, table, 1.0)
    try:
        units(counts, counts, place, place, layer, (on_gpu, on_gpu))
    except Exception as error:  # of whatever kind: a compiler, a driver or a library is missing
        reason = str(error).strip().splitlines() or [type(error).__name__]
        print(
            f"sjft: numba cannot compile for this GPU ({reason[0]}): torch computes the exact "
            f"distances, several times slower; 'pip install numba-cuda' may help",
            file=sys.stderr,
        )
        return None
    return units
