"""Descriptors of the AlexNet bank's shape whose distances spread as those of photographs do."""

from __future__ import annotations

import numpy as np

from sjft_tools.banks.bank import Layer

LAYERS = (Layer("conv1", 96, 54 * 54, 0.5 / 96), Layer("conv2", 256, 26 * 26, 0.5 / 256))
BINS = 100

# Traits that images share in all channels, contrast above all, and what a channel has of its own.
TRAITS, CONTRAST, OWN = 6, 0.45, 0.25


def draw(targets: int, sources: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return counts, targets x 35,200 and sources x 35,200 uint16.

    A channel's responses are normal; their spread is a product of the image's traits, their bins
    hold equal shares of the targets' responses.
    """
    rng = np.random.default_rng(seed)
    number = targets + sources
    traits = rng.normal(size=(number, TRAITS))
    made = np.empty((number, sum(layer.channels for layer in LAYERS) * BINS), np.uint16)
    start = 0
    for layer in LAYERS:
        for _ in range(layer.channels):
            weights = rng.normal(size=TRAITS) * 0.1
            weights[0] = CONTRAST
            spread = np.exp(traits @ weights + OWN * rng.normal(size=number))
            middle = 0.15 * spread * rng.normal(size=number)
            some = rng.normal(middle[:targets], spread[:targets], (200, targets))
            edges = np.quantile(some, np.arange(1, BINS) / BINS)
            shares = np.diff(_below((edges - middle[:, None]) / spread[:, None]), axis=1)
            made[:, start : start + BINS] = rng.multinomial(layer.pixels, shares)
            start += BINS
    return made[:targets], made[targets:]


def _below(z: np.ndarray) -> np.ndarray:
    """Return the logistic stand-in for the normal distribution function, with 0 and 1 around."""
    values = 1 / (1 + np.exp(-1.702 * z))
    ends = np.zeros((len(z), 1))
    return np.hstack([ends, values, ends + 1])
