"""The arithmetic of matching on a GPU: which it is, and whether its rounding keeps the bound."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from descriptors import draw_descriptors, exact_distances
from gpus import require_torch_on_a_gpu
from sjft.errors import InputError
from sjft_tools.banks.bank import Layer
from sjft_tools.distance import Distance
from sjft_tools.matching.device_arithmetic import fastest, keeps_bound
from sjft_tools.matching.device_pairs import DevicePairs
from sjft_tools.matching.rounding import FLOAT32, TENSOR_FLOAT_32, Arithmetic

LAYERS = (Layer("a", 4, 2900, 0.5 / 4), Layer("b", 6, 90, 0.5 / 6))


def keep_bits(monkeypatch: pytest.MonkeyPatch, of_elements: int, of_sums: int) -> None:
    """Have torch's products on this CPU lose bits, as a device's may."""

    def cut(numbers: np.ndarray, bits: int) -> np.ndarray:
        fraction, exponent = np.frexp(numbers)
        return np.ldexp(np.trunc(np.ldexp(fraction, bits)), exponent - bits)

    def lossy(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        columns, rows = (cut(each.numpy(), of_elements) for each in (left.T, right))
        total = np.zeros((len(left), right.shape[1]), np.float32)
        for column, row in zip(columns, rows):
            total = cut(total + np.outer(column, row), of_sums)
        return torch.from_numpy(total)

    monkeypatch.setattr(torch.Tensor, "__matmul__", lossy)


@pytest.mark.parametrize(
    ("of_elements", "of_sums", "expected"),
    [(24, 24, FLOAT32), (11, 24, TENSOR_FLOAT_32), (11, 14, None), (8, 24, None)],
)
def test_the_arithmetic_is_what_the_device_keeps_bits_for(
    of_elements: int, of_sums: int, expected: Arithmetic | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_bits(monkeypatch, of_elements, of_sums)
    choose = fastest.__wrapped__
    if expected is not None:
        assert choose(torch.device("cpu")) is expected
        return
    with pytest.raises(InputError, match=r"the GPU adds up float32 in a lesser precision"):
        choose(torch.device("cpu"))


@pytest.mark.gpu
def test_a_gpu_keeps_the_bits_that_its_arithmetic_counts_on() -> None:
    require_torch_on_a_gpu()
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("needs a GPU with TensorFloat-32")
    torch.set_float32_matmul_precision("high")  # another library's wish: ours decides
    device = torch.device("cuda")
    assert keeps_bound(FLOAT32, device)
    assert keeps_bound(TENSOR_FLOAT_32, device)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("arithmetic", [FLOAT32, TENSOR_FLOAT_32])
@pytest.mark.parametrize(("sources", "targets"), [(1, 1), (7, 300), (1024, 1280)])
def test_a_product_is_added_to_others_as_a_whole(
    device: str, arithmetic: Arithmetic, sources: int, targets: int
) -> None:
    # Were each term added to the sum of earlier products, the bound would have to be wider.
    if device == "cuda":
        require_torch_on_a_gpu()
    rounded = 2.0**24  # beside which no 0.5 counts
    pairs = DevicePairs(
        Distance(LAYERS, 20), draw_descriptors(1, 1, LAYERS, 20), device, arithmetic
    )
    total = torch.full((sources, targets), rounded, device=device)
    terms = arithmetic.terms
    operands = (
        torch.full((n, terms), 2.0**i, device=device) for n, i in ((sources, 0), (targets, -1))
    )
    pairs._add_product(total, *operands)
    assert (total == rounded + terms / 2).all()


@pytest.mark.gpu
@pytest.mark.parametrize("arithmetic", [FLOAT32, TENSOR_FLOAT_32])
def test_a_gpu_keeps_the_bound(arithmetic: Arithmetic) -> None:
    require_torch_on_a_gpu()
    layers = (Layer("a", 40, 2900, 0.5 / 40), Layer("b", 60, 600, 0.5 / 60))
    distance = Distance(layers, 100)
    descriptors = draw_descriptors(1, 200, layers, 100)
    exact = exact_distances(distance, descriptors, descriptors)
    bounds = DevicePairs(distance, descriptors, "cuda", arithmetic).upper_bounds(descriptors)
    assert (exact <= bounds.T).all()
