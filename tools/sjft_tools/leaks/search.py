"""The pass over the source: which of its images show the same picture as a test image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft.images import decode_datum
from sjft_tools.leaks.alignment import likeness
from sjft_tools.leaks.images import OnBad, Shown, read_blocks
from sjft_tools.leaks.specimens import Specimen
from sjft_tools.leaks.thumbnails import source_thumbnail, test_thumbnails

#: Pairs whose thumbnails have at least this inner product are compared closely: docs/leaks.md.
FLOOR = 0.7

_ROWS = 16384  # of one matrix product: enough for BLAS to run at its full rate
_SAME_GREY = 2  # grey levels by which the means of equal uniform images may differ
_MAY_BE_IDENTICAL = 0.95  # decoding at a reduced size costs equal images some likeness


class Pair(NamedTuple):
    """A test image and a source image that show one picture, by their positions.

    `is_identical`: their decoded pixels are equal. `is_mirrored`: one is the other's mirror image.
    `likeness`: see alignment.likeness; 1 if uniform.
    """

    test: int
    source: int
    is_identical: bool
    is_mirrored: bool
    likeness: float


class TestImages:
    """The test images as they are compared: about 50 kB each.

    Attributes: `lmdb`; `specimens`, by position, of those that could be decoded; `uniform`: the
    positions of those without any outline, of which only identical images can be found.
    """

    __test__ = False  # pytest collects classes by their name

    def __init__(self, lmdb: ImageLmdb, on_bad: OnBad) -> None:
        """Read them all. Raises InputError if not one of the first 100 can be decoded."""
        self.lmdb = lmdb
        self.specimens: dict[int, Specimen] = {}
        views = []
        for block in read_blocks(lmdb, "test images", test_thumbnails, on_bad):
            for image in block:
                self.specimens[image.position] = image.specimen
                views.append(image.thumbnails)
        self._positions = list(self.specimens)
        self._views = np.stack(views, axis=2)  # mirrored or not, view, image, dimension
        self._is_uniform = ~self._views.any(axis=(0, 1, 3))
        self.uniform = [self._positions[t] for t in np.flatnonzero(self._is_uniform)]
        self._uniform = frozenset(self.uniform)
        self._means = np.array([specimen.grey.mean() for specimen in self.specimens.values()])

    def is_uniform(self, position: int) -> bool:
        """Tell whether the image at `position` has no outline."""
        return position in self._uniform

    def candidates(self, sources: list[Shown]) -> list[tuple[int, int, bool]]:
        """Return the pairs to compare closely: (test position, index in `sources`, mirrored)."""
        if not sources:
            return []
        thumbnails = np.stack([image.thumbnails for image in sources])
        found = []
        for is_mirrored, views in zip((False, True), self._views):
            close = np.argwhere(_largest_products(views, thumbnails) >= FLOOR)
            found += [(self._positions[t], int(s), is_mirrored) for t, s in close]
        for s in np.flatnonzero(~thumbnails.any(axis=1)).tolist():
            alike = np.abs(self._means - sources[s].specimen.grey.mean()) <= _SAME_GREY
            both = np.flatnonzero(self._is_uniform & alike)
            found += [(self._positions[t], s, False) for t in both]
        return found


def _largest_products(views: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """Return for all pairs the largest of a test image's views' inner products, T x S float32.

    `views`: V x T x dimensions; `thumbnails`: S x dimensions.
    """
    count, tests, dimensions = views.shape
    best = np.full((tests, len(thumbnails)), -1, np.float32)
    step = max(1, _ROWS // tests)
    for start in range(0, count, step):
        rows = views[start : start + step].reshape(-1, dimensions)
        products = (rows @ thumbnails.T).reshape(-1, tests, len(thumbnails))
        np.maximum(best, products.max(axis=0), out=best)
    return best


def find_pairs(
    tests: TestImages, source: ImageLmdb, threshold: float, on_bad: OnBad, start: int = 0
) -> Iterator[list[Pair]]:
    """Yield the pairs that are identical or whose likeness is at least `threshold`.

    A list for each images.BLOCK of the source from position `start` on, the same from any `start`
    that is a multiple of BLOCK: in the order of the source, then of the test images; each pair
    once. One pass over the source with a progress bar; only two blocks of it are in memory. Raises
    InputError if not one of its first 100 images can be decoded.
    """
    for block in read_blocks(source, "source images", source_thumbnail, on_bad, start):
        best: dict[tuple[int, int], Pair] = {}
        for test, s, is_mirrored in tests.candidates(block):
            pair = _compare(tests, test, source, block[s], is_mirrored, threshold)
            known = best.get((pair.source, pair.test))
            is_found = pair.is_identical or pair.likeness >= threshold
            if is_found and (known is None or _closeness(pair) > _closeness(known)):
                best[pair.source, pair.test] = pair
        yield [best[key] for key in sorted(best)]


def _closeness(pair: Pair) -> tuple[bool, float]:
    return pair.is_identical, pair.likeness


def _compare(
    tests: TestImages,
    test: int,
    source: ImageLmdb,
    image: Shown,
    is_mirrored: bool,
    threshold: float,
) -> Pair:
    """Compare a test image with a source image closely, at the one of the two hands given."""
    if tests.is_uniform(test):
        is_identical = _have_equal_pixels(tests.lmdb, test, source, image)
        return Pair(test, image.position, is_identical, False, float(is_identical))
    alike = likeness(tests.specimens[test], image.specimen, is_mirrored, threshold)
    is_identical = (
        not is_mirrored
        and alike >= _MAY_BE_IDENTICAL
        and _have_equal_pixels(tests.lmdb, test, source, image)
    )
    return Pair(test, image.position, is_identical, is_mirrored, alike)


def _have_equal_pixels(tests: ImageLmdb, test: int, source: ImageLmdb, image: Shown) -> bool:
    stored = tests.value(test)
    if stored == image.value:
        return True
    ours, _ = decode_datum(stored, tests.name(test))
    theirs, _ = decode_datum(image.value, source.name(image.position))
    return ours.shape == theirs.shape and bool((ours == theirs).all())
