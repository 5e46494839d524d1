"""Which arithmetic a device multiplies float32 matrices in, by torch."""

from __future__ import annotations

import functools
import time

import torch

from sjft.errors import InputError
from sjft_tools.matching.rounding import FLOAT32, TENSOR_FLOAT_32, Arithmetic
from sjft_tools.torch_precision import allow_tensor_float_32

# Bits more of an operand than float32 is tried with: more would not add up without rounding.
_TRIED_BITS = 13

# Gained in the product, lost in part: a wider bound leaves more pairs for the exact distances.
_WORTH = 1.5


@functools.cache
def fastest(device: torch.device) -> Arithmetic:
    """Return TensorFloat-32 where the device is much faster in it, or has it forced on: or float32.

    Neighbours do not depend on it. Raises InputError if the device keeps neither's bound on
    rounding.
    """
    kept = [each for each in (FLOAT32, TENSOR_FLOAT_32) if keeps_bound(each, device)]
    if not kept:
        raise InputError(
            "the GPU adds up float32 in a lesser precision, by which neighbours would be lost: "
            "expected another GPU, or the product torch or numpy"
        )
    has_tensor_cores = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if len(kept) == 1 or not has_tensor_cores:
        return kept[0]
    plain, fast = (_seconds(each, device) for each in kept)
    return TENSOR_FLOAT_32 if fast * _WORTH < plain else FLOAT32


def multiply_in(arithmetic: Arithmetic) -> None:
    """Have matrix products reckoned in `arithmetic` from now on, or in a better one.

    In the whole process: see allow_tensor_float_32(). Convolutions have a setting of their own.
    """
    allow_tensor_float_32(arithmetic is TENSOR_FLOAT_32)


def keeps_bound(arithmetic: Arithmetic, device: torch.device) -> bool:
    """Return whether elements and sums keep the bits that Arithmetic says they do.

    All sums here are exact in an accumulator of 24 bits, whatever their order.
    """
    rows, terms = 64, 1024
    elements = torch.full((rows, terms), 1 + 2.0 ** -min(arithmetic.bits - 1, _TRIED_BITS - 1))
    small = torch.full((rows, terms), 2.0**-12)
    every = torch.arange(rows)
    small[every, every * (terms // rows)] = 2048
    tried = torch.cat([elements, small]).to(device)
    multiply_in(arithmetic)
    found = tried @ torch.ones((terms, rows), device=device)
    expected = tried.sum(dim=1, dtype=torch.float64)
    return bool((found == expected[:, None]).all())


def _seconds(arithmetic: Arithmetic, device: torch.device) -> float:
    """Return the least time of a few products of the size that matching calls for."""
    sources = torch.ones((1024, 2048), device=device)
    targets = torch.ones((4096, 2048), device=device)
    total = torch.zeros((1024, 4096), device=device)
    taken = []
    multiply_in(arithmetic)
    for _ in range(6):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        total.addmm_(sources, targets.T)
        torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return min(taken)
