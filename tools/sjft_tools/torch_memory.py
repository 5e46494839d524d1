"""A GPU whose memory does not do, as a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sjft.errors import InputError

# Of torch's own exception, of CUDA's as it starts or loads a kernel, of cuBLAS's and cuDNN's.
_SIGNS = ("out of memory", "ALLOC_FAILED")


@contextlib.contextmanager
def gpu_memory(sentence: str) -> Iterator[None]:
    """A block that may want more memory than a GPU has free: InputError of `sentence` then.

    The first line of what torch says is added to it.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _SIGNS):
            raise
        raise InputError(f"{sentence} ({str(error).splitlines()[0]})") from error
