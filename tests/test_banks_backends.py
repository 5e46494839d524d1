"""The backends of the filter banks: what their responses may not depend on; which can be had."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from conftest import draw_image
from drawn_banks import bank_of, random_weights, save_npz
from processes import run
from sjft.errors import InputError
from sjft_tools.banks import make_bank, mirrored
from sjft_tools.banks.bank import warp
from sjft_tools.pycaffe import import_caffe
from sjft_tools.torch_precision import allow_tensor_float_32

KINDS = ("alexnet caffe", "alexnet torch", "gabor numpy", "gabor torch")
GPU_KINDS = [
    pytest.param(kind, marks=pytest.mark.gpu)
    for kind in ("alexnet cuda", "alexnet caffe-gpu", "gabor cuda")
]


@pytest.mark.parametrize("kind", [*KINDS, *GPU_KINDS])
def test_responses_do_not_depend_on_the_batch_or_on_threads(kind: str, tmp_path: Path) -> None:
    bank = bank_of(kind, tmp_path)
    number = bank.batch + 3
    images = np.stack([warp(draw_image(seed, 60, 70), bank) for seed in range(number)])
    expected = bank.responses(images)
    assert [len(layer) for layer in expected] == [number] * len(bank.layers)
    order = np.random.default_rng(1).permutation(number)
    parts = [order[:1], order[1:4], order[4:]]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda part: bank.responses(images[part]), parts * 2))
    for part, result in zip(parts * 2, results):
        for layer, found in zip(expected, result):
            assert (found == layer[part]).all()


THREADS = """
import sys
import numpy as np
from sjft_tools.banks import make_bank

name, backend, weights, images, out = sys.argv[1:]
bank = make_bank(name, weights or None, backend=backend)
np.savez(out, *bank.responses(np.load(images)))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_responses_do_not_depend_on_the_threads_of_a_library(kind: str, tmp_path: Path) -> None:
    bank = bank_of(kind, tmp_path)
    images = np.stack([warp(draw_image(seed), bank) for seed in range(2)])
    np.save(tmp_path / "images.npy", images)
    weights = str(tmp_path / "w.npz") if bank.name == "alexnet" else ""
    found = []
    for threads in ("1", "3"):
        out = str(tmp_path / f"{threads}.npz")
        arguments = [*kind.split(), weights, str(tmp_path / "images.npy"), out]
        variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        run(sys.executable, "-c", THREADS, *arguments, **dict.fromkeys(variables, threads))
        with np.load(out) as stored:
            found.append([stored[name] for name in sorted(stored.files)])
    for one, other, here in zip(*found, bank.responses(images)):
        assert (one == other).all()
        assert (one == here).all()


@pytest.mark.parametrize("kind", ["alexnet torch", "gabor torch", GPU_KINDS[0], GPU_KINDS[-1]])
def test_a_bank_is_reckoned_in_float32_whatever_other_threads_ask_for(
    kind: str, tmp_path: Path
) -> None:
    bank = bank_of(kind, tmp_path)
    import torch
    from torch.overrides import TorchFunctionMode

    found = []

    class Asking(TorchFunctionMode):
        """Asks for TensorFloat-32, as matching does on a GPU, before each operation here."""

        def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            allow_tensor_float_32(True)
            if "matmul" in function.__name__:
                found.append(torch.get_float32_matmul_precision())
            return function(*args, **(kwargs or {}))

    images = np.stack([warp(draw_image(seed), bank) for seed in range(bank.batch)])
    expected = bank.responses(images)
    allow_tensor_float_32(True)
    assert torch.get_float32_matmul_precision() == "high"
    with Asking():
        again = bank.responses(images)
    assert len(found) >= 8 or bank.name == "alexnet"  # whose convolutions have their own setting
    assert set(found) <= {"highest"}
    for one, other in zip(expected, again):
        assert (one == other).all()
    allow_tensor_float_32(True)
    assert torch.get_float32_matmul_precision() == "high"
    allow_tensor_float_32(False)


@pytest.mark.parametrize(
    ("said", "is_named"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB.", True),
        ("CUDA error: out of memory\nCUDA kernel errors might be reported elsewhere", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_a_gpu_without_room_for_a_bank_is_named(
    said: str, is_named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = bank_of("gabor torch", tmp_path)

    def full(*words: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(mirrored, "filtered", full)
    with pytest.raises(InputError if is_named else RuntimeError) as raised:
        bank.responses(np.zeros((1, bank.crop, bank.crop, 3), np.uint8))
    if is_named:
        assert str(raised.value).startswith("filtering images, a batch in each of as many threads")
        assert str(raised.value).endswith(f", such as torch ({said.splitlines()[0]})")
    else:
        assert str(raised.value) == said


def test_torch_keeps_its_number_of_threads() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    make_bank("gabor", resize=8, backend="torch").responses(np.zeros((1, 8, 8, 3), np.uint8))
    assert torch.get_num_threads() == before


def test_auto_takes_what_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = save_npz(tmp_path / "w.npz", random_weights())
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    assert make_bank("alexnet", weights).backend == "caffe"
    assert make_bank("gabor", resize=100).backend == "numpy"
    with pytest.raises(InputError, match=r"torch cannot be imported .* choose another backend"):
        make_bank("alexnet", weights, backend="torch")
    monkeypatch.undo()
    assert make_bank("gabor", resize=64).backend == "numpy"
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "caffe", None)
    assert make_bank("alexnet", weights).backend in ("torch", "cuda")
    with pytest.raises(InputError, match="pycaffe cannot be imported"):
        make_bank("alexnet", weights, backend="caffe")


def test_a_folder_called_caffe_is_not_taken_for_pycaffe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "caffe" / "python").mkdir(parents=True)
    monkeypatch.delitem(sys.modules, "caffe", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(InputError, match=r"imported \(.*/caffe is a folder of that name, no pack"):
        import_caffe()


def test_backends_that_cannot_be_had_are_refused(tmp_path: Path) -> None:
    weights = save_npz(tmp_path / "w.npz", random_weights())
    with pytest.raises(
        InputError, match="gabor bank has no backend caffe: expected one of auto, n"
    ):
        make_bank("gabor", backend="caffe")
    with pytest.raises(InputError, match="alexnet bank has no backend numpy: expected one of auto"):
        make_bank("alexnet", weights, backend="numpy")


def test_a_missing_gpu_is_refused(tmp_path: Path) -> None:
    weights = save_npz(tmp_path / "w.npz", random_weights())
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="caffe-gpu needs a Caffe built with CUDA and a GPU, and"):
        make_bank("alexnet", weights, backend="caffe-gpu")
    for name, given in (("alexnet", weights), ("gabor", None)):
        with pytest.raises(InputError, match="cuda needs a GPU and a torch that can use it"):
            make_bank(name, given, backend="cuda")
