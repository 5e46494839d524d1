"""The exact distances of single pairs on a GPU, compiled by numba.

A block of threads takes one source and a few of its targets. What the source's counts stand for is
looked up once for all of them, and where a layer's tables have room they are looked up in the
block's shared memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import float64, int64, uint32

from sjft_tools.distance import QUANTUM, LayerTables
from sjft_tools.numba_cuda import SIMULATED, cuda

# A power of two: partial sums are added in pairs.
_THREADS = 32 if SIMULATED else 256

# Targets that a block takes at most. More need more registers than leave the GPU enough blocks.
_GROUP = 8

# Shared memory that every GPU lets a block have.
_SHARED_BYTES = 48 << 10

# Few pairs make a small grid, which is no fault.
warnings.filterwarnings("ignore", r".*Grid size \d+ will likely result in GPU under-utilization")


@cuda.jit(device=True)
def _add_units(  # type: ignore[no-untyped-def]
    targets, sources, rows, columns, first, end, start, stop, share, log, per_unit, out
):
    """Write the sums over dimensions start..stop-1 of the pairs first..end-1, all of one source.

    No operation here can be fused with another, nor its order matter: the terms are integers when
    they are added. Loops over the group are unrolled, and its arrays lie in registers.
    """
    thread = cuda.threadIdx.x
    column = columns[first]
    group = cuda.local.array(_GROUP, int64)
    counts = cuda.local.array(_GROUP, uint32)
    totals = cuda.local.array(_GROUP, int64)
    for g in range(_GROUP):
        group[g] = rows[first + g if first + g < end else first]
        totals[g] = 0
    for i in range(start + thread, stop, _THREADS):
        # all on their way before the first is waited for
        for g in range(_GROUP):
            counts[g] = targets[group[g], i]
        q = sources[column, i]
        share_q, log_q = share[q], log[q]
        for g in range(_GROUP):
            p = counts[g]
            totals[g] += int64(round((share[p] - share_q) * (log[p] - log_q) * per_unit))
    # the place of the tables, when all threads are done with them
    cuda.syncthreads()
    partial = cuda.shared.array(0, int64)
    for g in range(_GROUP):
        partial[g * _THREADS + thread] = totals[g]
    cuda.syncthreads()
    width = _THREADS // 2
    while width:
        if thread < width:
            for g in range(_GROUP):
                here = g * _THREADS + thread
                partial[here] += partial[here + width]
        cuda.syncthreads()
        width //= 2
    if first + thread < end:
        out[first + thread] = partial[thread * _THREADS]


@cuda.jit
def _by_shared_tables(  # type: ignore[no-untyped-def]
    targets, sources, rows, columns, groups, start, stop, share, log, per_unit, out
):
    """Do _add_units() for the pairs groups[blockIdx.x]..groups[blockIdx.x + 1]-1."""
    tables = cuda.shared.array(0, float64)
    size = len(share)
    for i in range(cuda.threadIdx.x, size, _THREADS):
        tables[i] = share[i]
        tables[size + i] = log[i]
    cuda.syncthreads()
    first, end = groups[cuda.blockIdx.x], groups[cuda.blockIdx.x + 1]
    near = tables[:size], tables[size:]
    _add_units(
        targets, sources, rows, columns, first, end, start, stop, near[0], near[1], per_unit, out
    )


@cuda.jit
def _by_global_tables(  # type: ignore[no-untyped-def]
    targets, sources, rows, columns, groups, start, stop, share, log, per_unit, out
):
    """Do what _by_shared_tables() does, with tables of any size."""
    first, end = groups[cuda.blockIdx.x], groups[cuda.blockIdx.x + 1]
    _add_units(targets, sources, rows, columns, first, end, start, stop, share, log, per_unit, out)


def units(
    targets: Any,
    sources: Any,
    rows: np.ndarray,
    columns: np.ndarray,
    layers: Sequence[LayerTables],
    tables: Sequence[tuple[Any, Any]],
) -> np.ndarray:
    """Return sums for each layer and pair (targets[rows[i]], sources[columns[i]]): int64, L x n.

    `targets`, `sources`: counts as signed integers of their size, N x dimensions; `tables`: each
    layer's share and log, float64; all of them torch's tensors on the GPU, or on the CPU where
    numba simulates one. `rows`, `columns`: int64 (n,), in any order, but fast only if pairs of one
    source follow each other.
    """
    import torch

    out = torch.zeros((len(layers), len(rows)), dtype=torch.int64, device=targets.device)
    if not len(rows):
        return out.cpu().numpy()
    groups = group_bounds(columns)
    counts = [_as_numba(tensor).view(f"u{tensor.element_size()}") for tensor in (targets, sources)]
    places = [
        _as_numba(torch.from_numpy(np.ascontiguousarray(each)).to(targets.device))
        for each in (rows, columns, groups)
    ]
    for layer, pair, sums in zip(layers, map(_both_as_numba, tables), out):
        table_bytes = 2 * 8 * len(layer.share)
        shared = table_bytes <= _SHARED_BYTES
        kernel = _by_shared_tables if shared else _by_global_tables
        size = max(_GROUP * _THREADS * 8, table_bytes if shared else 0)
        kernel[len(groups) - 1, _THREADS, _stream_of(out), size](
            *counts, *places, layer.start, layer.stop, *pair, 1 / QUANTUM, _as_numba(sums)
        )
    return out.cpu().numpy()


def group_bounds(columns: np.ndarray) -> np.ndarray:
    """Return where groups of at most _GROUP pairs of one source start, and `len(columns)`: int64.

    `columns`: int64 (n,), each pair's source.
    """
    runs = np.flatnonzero(np.diff(columns, prepend=-1))
    groups = -(-np.diff(runs, append=len(columns)) // _GROUP)
    before = np.cumsum(groups) - groups
    within_run = np.arange(groups.sum()) - np.repeat(before, groups)
    return np.append(np.repeat(runs, groups) + _GROUP * within_run, len(columns))


def _stream_of(tensor: Any) -> Any:
    """Return the stream that torch, in this thread, uses on the tensor's GPU."""
    import torch

    if SIMULATED:
        return 0
    return cuda.external_stream(torch.cuda.current_stream(tensor.device).cuda_stream)


def _as_numba(tensor: Any) -> Any:
    """Return the same memory as an array of numba's."""
    return tensor.numpy() if SIMULATED else cuda.as_cuda_array(tensor)


def _both_as_numba(tables: tuple[Any, Any]) -> tuple[Any, Any]:
    return _as_numba(tables[0]), _as_numba(tables[1])


def try_units() -> None:
    """Compile for this GPU what units() takes, and start it. Raises what numba or CUDA raise."""
    import torch

    device = "cpu" if SIMULATED else "cuda"
    counts = torch.zeros((1, 1), dtype=torch.int16, device=device)
    place = np.zeros(1, np.int64)
    # tables as large as they are in shared memory, and larger ones
    most = _SHARED_BYTES // 16
    empty = [np.zeros(size) for size in (most, most + 1)]
    layers = [LayerTables(0, 1, table, table, 1.0) for table in empty]
    on_gpu = [(table, table) for table in (torch.from_numpy(each).to(device) for each in empty)]
    units(counts, counts, place, place, layers, on_gpu)
