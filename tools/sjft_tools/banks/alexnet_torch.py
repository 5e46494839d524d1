"""The AlexNet bank by torch, on the CPU or a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from sjft_tools.banks.alexnet import MEAN, WHOLE_WINDOWS, AlexNetBank
from sjft_tools.banks.torch_backend import TorchBackend

#: On the CPU a batch's maps should stay near the cores; a GPU wants more to do at a time.
_BATCH = {"torch": 8, "cuda": 32}
# Caffe's LRN: x / (1 + ALPHA / SIZE * sum of squares over SIZE neighbouring channels) ** 0.75
_ALPHA = 1e-4
_SIZE = 5


class TorchAlexNetBank(AlexNetBank):
    """Any number of threads may call it at once."""

    def __init__(
        self, weights: str, resize: int, resolution: int | None, backend: str = "torch"
    ) -> None:
        """`backend`: "torch" or "cuda". Raises InputError as AlexNetBank and TorchBackend do."""
        self.backend = backend
        self.batch = _BATCH[backend]
        self._on = TorchBackend(backend)
        super().__init__(weights, resize, resolution)

    def _load(self, arrays: dict[str, np.ndarray]) -> None:
        self._mean = self._on.there(np.array(MEAN, np.float32))
        # Channels lie innermost in memory: for these convolutions that is the faster order.
        self._weights = {
            name: self._on.there(array).to(memory_format=self._on.torch.channels_last)
            if array.ndim == 4
            else self._on.there(array)
            for name, array in arrays.items()
        }

    def device_responses(self, images: np.ndarray) -> list[Any]:
        """See bank.TorchBank."""
        with self._on.running() as torch:
            pixels = self._on.there(images).to(torch.float32)
            conv = torch.nn.functional.conv2d
            conv1 = conv(
                (pixels - self._mean).permute(0, 3, 1, 2),
                self._weights["conv1_w"],
                self._weights["conv1_b"],
                stride=4,
            )
            normed = _lrn(torch.relu(conv1[:, :, :WHOLE_WINDOWS, :WHOLE_WINDOWS]))
            pooled = torch.nn.functional.max_pool2d(normed, 3, 2)
            conv2 = conv(
                pooled, self._weights["conv2_w"], self._weights["conv2_b"], padding=2, groups=2
            )
            return [maps.flatten(2).contiguous() for maps in (conv1, conv2)]

    def _filter(self, images: np.ndarray) -> list[np.ndarray]:
        return [maps.cpu().numpy() for maps in self.device_responses(images)]


def _lrn(maps: Any) -> Any:
    """Normalise N x C x H x W in place across channels, as Caffe does, and return it.

    The power of -0.75 by square roots, which are many times faster than a power.
    """
    squares = maps * maps
    energy = squares.clone()
    for shift in range(1, _SIZE // 2 + 1):
        energy[:, shift:] += squares[:, :-shift]
        energy[:, :-shift] += squares[:, shift:]
    root = energy.mul_(_ALPHA / _SIZE).add_(1).rsqrt_()
    return maps.mul_(root).mul_(root.sqrt_())
