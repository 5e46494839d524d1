"""torch, where it is installed, as a bank's backend: on the CPU, or on a GPU."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from sjft.errors import InputError
from sjft_tools.torch_memory import gpu_memory


def best_device() -> str | None:
    """Return "cuda" if torch finds a GPU, "torch" if it can be imported, else None."""
    try:
        return "cuda" if import_torch().cuda.is_available() else "torch"
    except InputError:
        return None


def import_torch() -> Any:
    """Return the module ``torch``. Raises InputError if it cannot be imported."""
    try:
        return importlib.import_module("torch")
    except (ImportError, OSError) as error:  # OSError: one of its libraries is missing
        raise InputError(
            f"torch cannot be imported ({error}): install it, as 'pip install torch' does, or "
            f"choose another backend"
        ) from None


_FULL = (
    "filtering images, a batch in each of as many threads as there are cores, needs more memory "
    "than the GPU has free: expected a GPU that no other program fills, fewer threads by "
    "OMP_NUM_THREADS, or another --backend, such as torch"
)


class TorchBackend:
    """Runs torch's operations so that rounding depends on neither other images nor threads.

    On the CPU each call keeps to the thread that makes it, for batches run side by side; that is
    also faster than sharing out each operation. On a GPU, convolutions in TensorFloat-32, which
    keeps 10 bits, and algorithms that are chosen by trial are ruled out; matrix products need
    torch_precision.in_float32() besides.
    """

    def __init__(self, backend: str) -> None:
        """`backend`: "torch" or "cuda". Raises InputError without torch, or without a GPU."""
        self.torch = import_torch()
        if backend == "cuda" and not self.torch.cuda.is_available():
            raise InputError(
                "the backend cuda needs a GPU and a torch that can use it, and torch finds none: "
                "expected another --backend, such as torch"
            )
        self.device = self.torch.device("cuda" if backend == "cuda" else "cpu")
        self._threads = self.torch.get_num_threads()
        # For the whole process: set and reset by threads side by side, they would get mixed up.
        self.torch.backends.cudnn.allow_tf32 = False
        self.torch.backends.cudnn.deterministic = True
        self.torch.backends.cudnn.benchmark = False

    def there(self, array: np.ndarray) -> Any:
        """Return the array on the device. Nobody waits for a GPU to take it.

        Raises InputError if the GPU has no room for it.
        """
        tensor = self.torch.from_numpy(array)
        if self.device.type == "cpu":
            return tensor
        with gpu_memory(_FULL):
            # From page-locked memory: from any other, all threads' work on the GPU halts meanwhile.
            return tensor.pin_memory().to(self.device, non_blocking=True)

    def here(self, tensor: Any) -> np.ndarray:
        """Return a tensor of the device as an array, when it has been reckoned."""
        if self.device.type == "cpu":
            return tensor.numpy()
        locked = self.torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        locked.copy_(tensor, non_blocking=True)
        done = self.torch.cuda.Event(blocking=True)
        done.record()
        done.synchronize()
        return locked.numpy().copy()  # page-locked memory is scarce, and used again

    @contextlib.contextmanager
    def running(self) -> Iterator[Any]:
        """A block whose operations run as the class says; gives torch.

        Raises InputError if the GPU has no room for them.
        """
        on_cpu = self.device.type == "cpu"
        if on_cpu:
            self.torch.set_num_threads(1)
        try:
            with gpu_memory(_FULL), self.torch.inference_mode():
                yield self.torch
        finally:
            if on_cpu:
                self.torch.set_num_threads(self._threads)
