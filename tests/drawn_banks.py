"""Filter banks with drawn weights, by those backends that this machine has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpus import require_caffe_on_a_gpu, require_torch_on_a_gpu
from sjft_tools.banks import make_bank
from sjft_tools.banks.alexnet_weights import SHAPES
from sjft_tools.banks.bank import Bank


def random_weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    scales = {"conv1_w": 0.02, "conv1_b": 1, "conv2_w": 0.03, "conv2_b": 1}
    return {
        name: rng.normal(0, scales[name], shape).astype(np.float32)
        for name, shape in SHAPES.items()
    }


def save_npz(path: Path, arrays: dict[str, np.ndarray]) -> str:
    np.savez(path, **arrays)
    return str(path)


def require(backend: str) -> None:
    """Skip a test of a backend that this machine does not have."""
    if backend == "caffe-gpu":
        require_caffe_on_a_gpu()
    if backend == "torch":
        pytest.importorskip("torch")
    if backend == "cuda":
        require_torch_on_a_gpu()


def bank_of(kind: str, tmp_path: Path) -> Bank:
    """A bank by `kind`, such as "alexnet torch"."""
    name, backend = kind.split()
    require(backend)
    weights = save_npz(tmp_path / "w.npz", random_weights()) if name == "alexnet" else None
    return make_bank(name, weights, backend=backend)
