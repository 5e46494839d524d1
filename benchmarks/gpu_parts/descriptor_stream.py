"""As many drawn descriptors as ImageNet has images, block by block, no two alike, by torch.

Descriptors of a pool are drawn pixel by pixel, as in drawn_descriptors.py: a channel's responses
are normal, their spread a product of traits that the channels share, and bins hold equal shares of
the targets' responses. A source of the stream takes each channel from either of two descriptors of
the pool that are alike in their chief trait, contrast. So its channels sum to what they must, and
distances spread as among the pool's.
"""

from __future__ import annotations

import numpy as np
import torch
from drawn_descriptors import BINS, CONTRAST, OWN, TRAITS

from sjft_tools.banks.bank import Layer

#: Responses drawn at a time.
_MOST = 1 << 26
#: The two of the pool are so near in the order of contrast.
_NEAR = 16


class DescriptorStream:
    """Descriptors of `layers`: `targets`, counts on the CPU, and blocks of sources."""

    def __init__(self, layers: list[Layer], targets: int, pool: int, block: int, device: str):
        self.layers = layers
        self.block_size = block
        self._device = torch.device(device)
        generator = torch.Generator(self._device).manual_seed(1)
        traits = torch.randn((targets + pool, TRAITS), generator=generator, device=self._device)
        order = torch.argsort(traits[targets:, 0])  # by contrast
        drawn = self._draw(traits, targets, generator)
        self.targets = _as_counts(drawn[:targets])
        self._pool = drawn[targets:][order]

    def block(self, number: int, size: int | None = None) -> np.ndarray:
        """Return the counts of block `number`, `size` (default: all) x dimensions, on the CPU."""
        return _as_counts(self._made(number)[:size])

    def rows(self, number: int, rows: np.ndarray) -> np.ndarray:
        """Return some rows of block `number`."""
        return _as_counts(self._made(number)[torch.from_numpy(rows).to(self._device)])

    def on_device(self, number: int) -> torch.Tensor:
        """Return block `number` as int64 counts on the device."""
        return self._made(number).long() & 0xFFFF

    def _made(self, number: int) -> torch.Tensor:
        generator = torch.Generator(self._device).manual_seed(1000 + number)
        size, device, pool = self.block_size, self._device, len(self._pool)
        one = torch.randint(pool, (size,), generator=generator, device=device)
        apart = torch.randint(1, _NEAR, (size,), generator=generator, device=device)
        other = (one + apart) % pool
        channels = sum(layer.channels for layer in self.layers)
        first = torch.rand((size, channels, 1), generator=generator, device=device) < 0.5
        a, b = (self._pool[rows].view(size, channels, BINS) for rows in (one, other))
        return torch.where(first, a, b).view(size, -1)

    def _draw(self, traits: torch.Tensor, targets: int, generator: torch.Generator) -> torch.Tensor:
        number, device = len(traits), self._device
        made = []
        for layer in self.layers:
            for _ in range(layer.channels):
                weights = 0.1 * torch.randn(TRAITS, generator=generator, device=device)
                weights[0] = CONTRAST
                own = torch.randn((2, number), generator=generator, device=device)
                spread = torch.exp(traits @ weights + OWN * own[0])
                middle = 0.15 * spread * own[1]
                some = torch.randn((targets, 200), generator=generator, device=device)
                some = (middle[:targets, None] + spread[:targets, None] * some).flatten()
                places = (torch.arange(1, BINS, device=device) * len(some)) // BINS
                edges = torch.sort(some).values[places]
                made.append(self._count(layer.pixels, spread, middle, edges, generator))
        return torch.cat(made, dim=1)

    def _count(
        self,
        pixels: int,
        spread: torch.Tensor,
        middle: torch.Tensor,
        edges: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return how many of each descriptor's responses fall in each bin: int16 N x BINS."""
        step = max(1, _MOST // pixels)
        parts = []
        for start in range(0, len(spread), step):
            here = slice(start, start + step)
            size = (len(spread[here]), pixels)
            values = torch.randn(size, generator=generator, device=self._device)
            values.mul_(spread[here, None]).add_(middle[here, None])
            found = torch.bucketize(values, edges, right=True)
            found += BINS * torch.arange(len(values), device=self._device)[:, None]
            counts = torch.bincount(found.flatten(), minlength=BINS * len(values))
            parts.append(counts.view(-1, BINS).to(torch.int16))
        return torch.cat(parts)


def _as_counts(drawn: torch.Tensor) -> np.ndarray:
    return drawn.cpu().numpy().view(np.uint16)
