"""The stages of describing, one by one, all together, and written out literally."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Callable

import cv2
import numpy as np
from scipy.signal import fftconvolve
from skimage.filters import gabor, gabor_kernel
from turns import Way

from sjft.image_lmdb import ImageLmdb
from sjft.images import decode_datum
from sjft_tools.banks import make_bank
from sjft_tools.banks.bank import Bank, warp
from sjft_tools.banks.gabor import HIGHEST_FREQUENCY, LOWEST_FREQUENCY, ORIENTATIONS, SCALES
from sjft_tools.banks.torch_backend import best_device
from sjft_tools.bins import Bins
from sjft_tools.commands.fit_bins import fit
from sjft_tools.describe import Describer
from sjft_tools.histogram import Histogrammer, compiled_kernels
from sjft_tools.overlap import cores, in_order

READ, DECODE, WARP = "read", "decode only", "decode and warp"
HISTOGRAMS, NUMPY_COUNTS = "histograms", "histograms without numba"
LITERAL = "whole, numpy.histogram per channel"
SKIMAGE, FFTCONVOLVE = "whole, skimage.filters.gabor", "whole, skimage's kernels, fftconvolve"


def backends(bank: str) -> list[str]:
    """Return the backends of a bank that this machine has."""
    found = ["caffe" if bank == "alexnet" else "numpy"]
    if importlib.util.find_spec("torch") is not None:
        found.append("torch")
        if best_device() == "cuda":
            found.append("cuda")
    return found


def bank_alone(backend: str) -> str:
    """Return the name of the way that runs only the bank, by `backend`."""
    return f"bank by {backend}"


def whole(backend: str) -> str:
    """Return the name of the way that runs all of sjft's describing, the bank by `backend`."""
    return f"whole by {backend}"


def all_ways(name: str, weights: str | None, lmdb: ImageLmdb) -> dict[str, Way]:
    """Return the ways of describing an LMDB's images by the bank `name`."""
    banks = {backend: make_bank(name, weights, backend=backend) for backend in backends(name)}
    first = next(iter(banks.values()))
    bins = fit(lmdb, first, 100)
    values = list(lmdb.values())
    warped = [warp(decode_datum(value, "")[0], first) for value in values]
    found = _stages(lmdb, first, bins, values, warped)
    for backend, bank in banks.items():
        found[bank_alone(backend)] = _bank_alone(bank, warped)
        found[whole(backend)] = _whole(bank, bins, lmdb)
    turn = itertools.cycle(range(lmdb.count))
    found[LITERAL] = lambda: _literal(first.responses, first, bins, lmdb, next(turn))
    if name == "gabor":
        found[SKIMAGE] = lambda: _literal(_skimage, first, bins, lmdb, next(turn))
        found[FFTCONVOLVE] = lambda: _literal(_fftconvolve, first, bins, lmdb, next(turn))
    _check(Describer(first, Histogrammer(bins)), bins, first, warped[:2])
    return found


def _in_threads(function: Callable[[object], object], items: Iterable[object]) -> None:
    for _ in in_order(function, items, cores(), 2):
        pass


def _parts(items: list, size: int) -> list[list]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _stages(
    lmdb: ImageLmdb, bank: Bank, bins: Bins, values: list[bytes], warped: list[np.ndarray]
) -> dict[str, Way]:
    """The stages but for the bank, each on as many threads as there are cores."""
    places = _parts(list(range(lmdb.count)), bank.batch)
    batches = _parts(values, bank.batch)
    some = warped[: 4 * bank.batch]
    responses = [bank.responses(np.array(part)) for part in _parts(some, bank.batch)]
    histogrammer = Histogrammer(bins)
    other = ProcessPoolExecutor(1, get_context("spawn"), _begin_without_numba, (bins, responses))

    def read() -> int:
        _in_threads(lambda part: [lmdb.value(place) for place in part], places)
        return lmdb.count

    def decode() -> int:
        _in_threads(lambda part: [decode_datum(value, "") for value in part], batches)
        return lmdb.count

    def decode_and_warp() -> int:
        _in_threads(
            lambda part: np.array([warp(decode_datum(v, "")[0], bank) for v in part]), batches
        )
        return lmdb.count

    def histograms() -> int:
        _in_threads(histogrammer.counts, responses)
        return len(some)

    def numpy_counts() -> int:
        other.submit(_count_without_numba).result()
        return len(some)

    return {
        READ: read,
        DECODE: decode,
        WARP: decode_and_warp,
        HISTOGRAMS: histograms,
        NUMPY_COUNTS: numpy_counts,
    }


_without_numba: list[tuple[Histogrammer, list]] = []  # of the process that has none


def _begin_without_numba(bins: Bins, responses: list) -> None:
    """Make this process, a new one, such that numba cannot be imported."""
    sys.modules["numba"] = None
    if compiled_kernels() is not None:
        raise RuntimeError("numba was imported before")
    _without_numba.append((Histogrammer(bins), responses))


def _count_without_numba() -> None:
    histogrammer, responses = _without_numba[0]
    _in_threads(histogrammer.counts, responses)


def _bank_alone(bank: Bank, warped: list[np.ndarray]) -> Way:
    batches = [np.array(part) for part in _parts(warped, bank.batch)]

    def run() -> int:
        _in_threads(bank.responses, batches)
        return len(warped)

    return run


def _whole(bank: Bank, bins: Bins, lmdb: ImageLmdb) -> Way:
    describer = Describer(bank, Histogrammer(bins))

    def run() -> int:
        stream = describer.stream(lmdb, None, "", bar=lambda number: None)
        return sum(len(some.positions) for some in stream)

    return run


def literal_histograms(responses: list[np.ndarray], bins: Bins) -> np.ndarray:
    """Count one image's responses by numpy.histogram, channel by channel: D x B."""
    counts, channel = [], 0
    for layer in responses:
        for values in layer[0]:
            # Half-open bins of which the last holds all that lies beyond.
            edges = np.concatenate([[-np.inf], bins.edges[channel, :-1], [np.inf]])
            counts.append(np.histogram(values, edges)[0])
            channel += 1
    return np.array(counts)


def _literal(
    responses: Callable[[np.ndarray], list[np.ndarray]],
    bank: Bank,
    bins: Bins,
    lmdb: ImageLmdb,
    place: int,
) -> int:
    """Describe one image as one writes it down."""
    literal_histograms(responses(warp(lmdb.image(place), bank)[None]), bins)
    return 1


def _frequencies() -> np.ndarray:
    return np.geomspace(HIGHEST_FREQUENCY, LOWEST_FREQUENCY, SCALES)


def _angles() -> np.ndarray:
    return np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS


def _skimage(images: np.ndarray) -> list[np.ndarray]:
    """Filters of the same frequencies and orientations by scikit-image."""
    grey = cv2.cvtColor(images[0], cv2.COLOR_BGR2GRAY).astype(np.float32)
    maps = [gabor(grey, f, theta=angle) for f in _frequencies() for angle in _angles()]
    return [np.array(maps, np.float32).reshape(1, -1, grey.size)]


def _fftconvolve(images: np.ndarray) -> list[np.ndarray]:
    """scikit-image's kernels, convolved by scipy with the mirrored image."""
    grey = cv2.cvtColor(images[0], cv2.COLOR_BGR2GRAY).astype(np.float32)
    maps = []
    for frequency in _frequencies():
        for angle in _angles():
            kernel = gabor_kernel(frequency, theta=angle)
            rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
            wide = np.pad(grey, ((rows, rows), (columns, columns)), mode="symmetric")
            filtered = fftconvolve(wide, kernel, "valid")
            maps += [filtered.real, filtered.imag]
    return [np.array(maps, np.float32).reshape(1, -1, grey.size)]


def _check(describer: Describer, bins: Bins, bank: Bank, warped: list[np.ndarray]) -> None:
    """Make sure that the literal way counts the same."""
    found = describer.describe(np.array(warped))
    for row, image in zip(found, warped):
        expected = literal_histograms(bank.responses(image[None]), bins).ravel()
        if (row != expected).any():
            raise SystemExit("numpy.histogram and sjft count differently")
