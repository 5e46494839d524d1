"""Counting responses where a bank by torch left them: on the GPU, of which only counts come back.

The responses of an image are tens of times as many bytes as its counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sjft_tools.banks.torch_backend import TorchBackend
from sjft_tools.histogram import counts_type


class TorchHistogrammer:
    """Counts as histogram.Histogrammer does, with the same results."""

    def __init__(self, inner: np.ndarray, backend: str) -> None:
        """`inner`: see histogram.inner_edges; `backend`: "torch" or "cuda".

        Raises InputError as TorchBackend does.
        """
        self._on = TorchBackend(backend)
        self._inner = self._on.there(inner)
        self._one = self._on.there(np.ones((), np.int32))

    def counts(self, responses: list[Any]) -> np.ndarray:
        """Return what Histogrammer.counts does, N x (D * B) uint16 or uint32.

        `responses`: tensors on the backend's device, for each layer N x channels x pixels float32,
        finite. Any number of threads may call it at once. Takes 8 bytes a response of the largest
        layer meanwhile.
        """
        number, kind = len(responses[0]), counts_type(responses)
        with self._on.running() as torch:
            channels, edges = self._inner.shape
            shape = (number, channels, edges + 1)
            out = torch.zeros(shape, dtype=torch.int32, device=self._on.device)
            channel = 0
            for layer in responses:
                some = slice(channel, channel + layer.shape[1])
                inner = self._inner[some].expand(number, -1, -1).contiguous()
                found = torch.searchsorted(inner, layer.contiguous(), right=True)
                out[:, some].scatter_add_(2, found, self._one.expand_as(found))
                channel += layer.shape[1]
            # torch knows few operations on unsigned integers; the bits are the same.
            signed = torch.int16 if kind is np.uint16 else torch.int32
            return self._on.here(out.reshape(number, -1).to(signed)).view(kind)
