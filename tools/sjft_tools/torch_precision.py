"""Which arithmetic torch multiplies float32 matrices in: one setting for the whole process.

Matching may use TensorFloat-32, filter banks must not, and both work in threads side by side. What
is set when a product is begun decides, on a GPU too, where it is reckoned later.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_blocks = 0


@contextlib.contextmanager
def in_float32() -> Iterator[None]:
    """A block whose products are reckoned in float32, whatever other threads ask for meanwhile."""
    global _blocks
    import torch

    with _lock:
        _blocks += 1
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1


def allow_tensor_float_32(allowed: bool) -> None:
    """Have products from now on reckoned in TensorFloat-32 or in float32.

    In float32 also where it is allowed, while another thread is in a block of in_float32(). No
    thread puts back what was set before: who multiplies says how, each time.
    """
    import torch

    with _lock:
        high = allowed and not _blocks
        torch.set_float32_matmul_precision("high" if high else "highest")
