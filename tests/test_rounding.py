"""Bounds on the rounding of the first pass, against sums reckoned as hardware reckons them."""

from __future__ import annotations

import numpy as np
import pytest

from descriptors import BINS, LAYERS, draw_descriptors
from sjft_tools.distance import Distance
from sjft_tools.matching.operands import slabs, source_operand, target_operand
from sjft_tools.matching.rounding import (
    FLOAT32,
    TENSOR_FLOAT_32,
    Arithmetic,
    relative_error,
)

TERMS = TENSOR_FLOAT_32.terms


def cut_to(numbers: np.ndarray, last_place: np.ndarray) -> np.ndarray:
    return np.trunc(numbers / last_place) * last_place


def tensor_core_sum(products: np.ndarray, at_once: int) -> np.ndarray:
    """Sum N x n products as a tensor core with no bits to spare: as TENSOR_FLOAT_32 describes."""
    total = np.zeros(len(products))
    for start in range(0, products.shape[1], at_once):
        addends = np.column_stack([total, products[:, start : start + at_once]])
        greatest = np.frexp(addends.max(axis=1))[1] - 1
        aligned = cut_to(addends, np.exp2(greatest - 23.0)[:, None]).sum(axis=1)
        total = cut_to(aligned, np.exp2(np.frexp(aligned)[1] - 24.0))
    return total


@pytest.mark.parametrize("at_once", [4, 8, 16])
def test_sums_of_a_tensor_core_stay_within_the_bound(at_once: int) -> None:
    rng = np.random.default_rng(1)
    lost_whole = np.full((1, TERMS), 2.0**-23 * (1 - 2.0**-20))
    lost_whole[0, 0] = 1
    drawn = rng.random((50, TERMS)) * np.exp2(rng.integers(-24, 1, (50, TERMS)))
    products = np.concatenate([lost_whole, drawn])
    right = products.sum(axis=1)
    lost = 1 - tensor_core_sum(products, at_once) / right
    bound = 1 - (1 - TENSOR_FLOAT_32.addition) ** TERMS
    assert (lost >= 0).all()
    assert (lost <= bound).all()
    assert lost[0] > bound / 3  # so that the bound is no guess


@pytest.mark.parametrize("arithmetic", [FLOAT32, TENSOR_FLOAT_32])
def test_tables_keep_as_many_bits_as_were_asked_for(arithmetic: Arithmetic) -> None:
    distance = Distance(LAYERS, BINS)
    for rounded, whole in zip(slabs(distance, arithmetic.bits), slabs(distance, 53)):
        for name in ("share", "log", "weighted_share", "weighted_log"):
            table, exact = getattr(rounded, name), getattr(whole, name).astype(np.float64)
            fraction = np.frexp(table.astype(np.float64))[0] * 2.0**arithmetic.bits
            assert (fraction == np.rint(fraction)).all()
            assert (np.abs(table - exact) <= 2.0**-arithmetic.bits * (1 + 2.0**-10) * exact).all()
        assert (rounded.own == whole.own).all()


def test_a_product_in_few_bits_stays_within_the_bound() -> None:
    distance = Distance(LAYERS, BINS)
    targets, sources = draw_descriptors(1, 20), draw_descriptors(2, 30)
    exact, found = (
        sum(
            source_operand(sources[:, slab.start : slab.stop], slab).astype(np.float64)
            @ np.concatenate(target_operand(targets, slab), axis=1).astype(np.float64).T
            for slab in slabs(distance, bits)
        )
        for bits in (24, TENSOR_FLOAT_32.bits)
    )
    off = np.abs(found / exact - 1)
    assert off.max() <= relative_error(distance, TENSOR_FLOAT_32)
    assert off.max() > relative_error(distance, FLOAT32)
