"""Matching on a GPU: the kernel that numba compiles for it, simulated where there is none."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

import torch

from conftest import draw_image, run_sjft, write_image_lmdb
from descriptors import brute_force, draw_descriptors, exact_distances
from gpus import require_torch_on_a_gpu
from processes import run
from sjft.errors import InputError
from sjft_tools.banks.bank import Layer
from sjft_tools.distance import QUANTUM, Distance
from sjft_tools.matching import device_pairs, device_sources
from sjft_tools.matching.device_pairs import DevicePairs
from sjft_tools.matching.exact import compiled_for_gpu
from sjft_tools.matching.matcher import Matcher, match_all
from sjft_tools.matching.products import DeviceProduct
from sjft_tools.matching.rounding import FLOAT32, TENSOR_FLOAT_32, Arithmetic
from sjft_tools.top_k import merge

LARGE = (Layer("a", 4, 70_000, 0.5 / 4), Layer("b", 6, 90, 0.5 / 6))
SMALL = (Layer("a", 4, 2900, 0.5 / 4), Layer("b", 6, 90, 0.5 / 6))

# Sources of pairs: one pair, more than two groups of them, none, just a group, one again.
GROUPS = np.repeat([0, 1, 3, 2], [1, 19, 8, 1])

# What the kernel makes of pairs, beside what torch's operations make of them, on this CPU.
SIMULATED = """
import numpy as np
from sjft_tools.matching.device_kernels import group_bounds, try_units, units
from sjft_tools.matching.device_pairs import DevicePairs
from test_gpu_matching import GROUPS, LARGE, SMALL, some_pairs

assert group_bounds(GROUPS).tolist() == [0, 1, 9, 17, 20, 28, 29]
assert group_bounds(GROUPS[::-1]).tolist() == [0, 1, 9, 17, 25, 28, 29]
try_units()
for layers in (SMALL, LARGE):
    distance, targets, sources, rows, columns = some_pairs(layers)
    many = np.arange(len(GROUPS)) % len(targets), GROUPS
    pairs = DevicePairs(distance, targets, "cpu")
    cases = [(rows, columns), many, (rows[:1], columns[:1])]
    expected = [pairs.exact(sources, *case) for case in cases]
    pairs._compiled_units = lambda: units
    for case, distances in zip(cases, expected):
        assert (pairs.exact(sources, *case) == distances).all()
    assert len(pairs.exact(sources, rows[:0], columns[:0])) == 0
print("simulated")
"""


def some_pairs(
    layers: tuple[Layer, ...],
) -> tuple[Distance, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A distance, targets, sources, and pairs of them, an equal one among them."""
    distance = Distance(layers, 20)
    targets, sources = draw_descriptors(1, 3, layers, 20), draw_descriptors(2, 4, layers, 20)
    sources[2] = targets[1]
    rows, columns = np.array([0, 2, 1, 1, 2]), np.array([3, 0, 2, 1, 0])
    return distance, targets, sources, rows, columns


def test_the_kernel_gives_the_same_distances_in_simulation() -> None:
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    variables = {"NUMBA_ENABLE_CUDASIM": 1, "PYTHONPATH": os.pathsep.join(paths)}
    assert run(sys.executable, "-c", SIMULATED, **variables).endswith("simulated\n")


WITHOUT_NUMBA = """
import sys

sys.modules["numba"] = None
from sjft_tools.matching.exact import compiled_for_gpu

assert [compiled_for_gpu(), compiled_for_gpu()] == [None, None]
"""


def test_without_numba_a_line_says_that_torch_is_slower() -> None:
    line = (
        "sjft: numba cannot compile for this GPU (import of numba halted; None in sys.modules): "
        "torch computes the exact distances, several times slower; \"pip install 'numba-cuda[cu"
    )
    said = run(sys.executable, "-c", WITHOUT_NUMBA)
    assert said.startswith(line)
    assert said.endswith("]'\" may help\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize("layers", [SMALL, LARGE])
def test_pairs_by_torch_are_exact(layers: tuple[Layer, ...]) -> None:
    distance, targets, sources, rows, columns = some_pairs(layers)
    assert targets.dtype == (np.uint16 if layers is SMALL else np.uint32)
    pairs = DevicePairs(distance, targets, "cpu")
    found = pairs.exact(sources, rows, columns)
    assert (found == exact_distances(distance, targets, sources)[rows, columns]).all()
    assert found[2] == 0


def test_sources_are_brought_to_the_gpu_once(monkeypatch: pytest.MonkeyPatch) -> None:
    distance, targets, sources, rows, columns = some_pairs(SMALL)
    pairs = DevicePairs(distance, targets, "cpu")
    distances = exact_distances(distance, targets, sources)
    near = pairs.within(sources, distances.max(axis=1))
    monkeypatch.setattr(device_sources, "signed", None)
    again = pairs.within(sources, distances.max(axis=1))
    assert [found.tolist() for found in again] == [found.tolist() for found in near]
    assert (pairs.exact(sources, rows, columns) == distances[rows, columns]).all()


def test_a_gpu_without_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(device_pairs, "signed", full)
    distance, targets, *_ = some_pairs(SMALL)
    with pytest.raises(InputError, match=r"3 target images need .* on the GPU.*the product"):
        DeviceProduct("cpu").load(distance, targets)


def test_a_gpu_that_fills_up_meanwhile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    distance, targets, sources, *_ = some_pairs(SMALL)
    matcher = Matcher(distance, targets, np.full(3, np.inf), DeviceProduct("cpu"))
    stream = [(np.arange(4), sources)] * 9
    add, calls = DevicePairs._add_product, itertools.count()

    def fill(self: DevicePairs, *operands: torch.Tensor) -> None:
        if next(calls) == 7:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        add(self, *operands)

    monkeypatch.setattr(DevicePairs, "_add_product", fill)
    words = r"matching 4 sources at a time with 3 target images needs more memory than the GPU has"
    with pytest.raises(InputError, match=words):
        match_all(matcher, stream, 3, 2, 4)
    assert not [each for each in threading.enumerate() if each.name.startswith("sjft_")]
    # and what it left behind is in nobody's way
    matcher.renew(np.full(3, np.inf))
    found = match_all(matcher, stream[:1], 3, 2)
    assert (merge([found], 3, 2)[0] == brute_force(distance, targets, sources, 2)[0]).all()


@pytest.mark.parametrize(("targets", "sources", "k", "block"), [(1, 1, 1, 1), (1, 9, 4, 4)])
@pytest.mark.parametrize("arithmetic", [FLOAT32, TENSOR_FLOAT_32])
def test_few_targets_and_sources(
    targets: int, sources: int, k: int, block: int, arithmetic: Arithmetic
) -> None:
    distance = Distance(SMALL, 20)
    some, others = draw_descriptors(1, targets, SMALL, 20), draw_descriptors(2, sources, SMALL, 20)
    expected = brute_force(distance, some, others, k)
    matcher = Matcher(distance, some, np.full(targets, np.inf), DeviceProduct("cpu", arithmetic))
    for wanted in (k, sources + 5):
        matcher.renew(np.full(targets, np.inf))
        found = match_all(matcher, [(np.arange(sources), others)], targets, wanted, block)
        indices, distances, counts = merge([found], targets, wanted)
        assert counts.tolist() == [min(wanted, sources)] * targets
        assert (indices[:, :k] == expected[0]).all()
        assert (distances[:, :k] == expected[1]).all()
    assert len(match_all(matcher, [], targets, k).targets) == 0


def test_the_memory_of_the_host_is_that_of_the_sources_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_pairs, "best_block", lambda *words: 4096)
    product = DeviceProduct("cpu")
    assert product.host_memory(10, 1 << 20, 35_200, 2) == {
        f"{9 * 4096} sources at a time": 9 * 4096 * 70_400,
        f"copies of {4 * 4096} for the GPU": 4 * 4096 * 70_400,
    }
    # no more than there are, and what is joined
    assert list(product.host_memory(10, 8192, 35_200, 2)) == [
        "12288 sources at a time",
        "copies of 8192 for the GPU",
    ]
    assert list(product.host_memory(10, 100, 35_200, 2).values()) == [200 * 70_400, 100 * 70_400]


@pytest.mark.parametrize("free", [20, 26, 30])
def test_large_blocks_where_there_is_room_beside_the_targets(
    free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_in_torch_2_1(device: int | None) -> tuple[int, int]:
        assert device is None or isinstance(device, int)
        return free << 30, 80 << 30

    monkeypatch.setattr(torch.cuda, "mem_get_info", as_in_torch_2_1)
    device = torch.device("cuda")
    assert device_pairs.best_block(device, 10, 35_200) == (1024 if free == 20 else 4096)
    # 10,000 of them take 3.3 GiB
    assert device_pairs.best_block(device, 10_000, 35_200) == (4096 if free == 30 else 1024)


@pytest.mark.gpu
@pytest.mark.parametrize("layers", [SMALL, LARGE])
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("arithmetic", [FLOAT32, TENSOR_FLOAT_32])
def test_a_gpu_gives_the_same_bytes(
    layers: tuple[Layer, ...],
    compiled: bool,
    arithmetic: Arithmetic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_torch_on_a_gpu()
    if not compiled:
        monkeypatch.setattr(DevicePairs, "_compiled_units", lambda self: None)
    distance = Distance(layers, 20)
    targets, sources = draw_descriptors(1, 30, layers, 20), draw_descriptors(2, 400, layers, 20)
    expected = brute_force(distance, targets, sources, 50)
    matcher = Matcher(distance, targets, np.full(30, np.inf), DeviceProduct("cuda", arithmetic))
    stream = ((places, sources[places]) for places in np.array_split(np.arange(400), 7))
    indices, distances, counts = merge([match_all(matcher, stream, 30, 50, 128)], 30, 50)
    assert (indices == expected[0]).all()
    assert distances.tobytes() == expected[1].tobytes()
    assert counts.tolist() == [50] * 30


@pytest.mark.gpu
def test_numba_compiles_for_the_gpu() -> None:
    require_torch_on_a_gpu()
    assert compiled_for_gpu() is not None


@pytest.mark.parametrize("on", ["torch", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_retrieving(on: str, tmp_path: Path) -> None:
    """Describing and matching side by side in one process, as 'sjft retrieve' has them."""
    if on == "cuda":
        require_torch_on_a_gpu()
    sets = [
        write_image_lmdb(tmp_path / name, [draw_image(seed) for seed in seeds], [0] * len(seeds))
        for name, seeds in (("target", range(9)), ("source", range(5, 155)))
    ]
    run_sjft("fit-bins", sets[0], tmp_path / "bins.npz", "--bank", "gabor", "--backend", on)
    common = ("--bins-file", tmp_path / "bins.npz", "--k", 20, "--backend", on, "--shard-size", 60)
    found = []
    for product in ("numpy", on):
        said = run_sjft("retrieve", *sets, tmp_path / product, "--product", product, *common)
        assert "memory: some " in said
        assert "numba cannot compile" not in said
        found.append((tmp_path / product / "data.mdb").read_bytes())
    assert found[0] == found[1]


def test_quantum_is_a_power_of_two() -> None:
    # so that the kernel's last factor rounds nothing
    assert np.frexp(QUANTUM)[0] == 0.5
