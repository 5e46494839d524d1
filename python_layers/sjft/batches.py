"""Finished batches: the arrays of a data layer's tops for any batch number.

Both kinds of batches have the same interface (:class:`Batches`): `tops`, the shape of each top by
name, in the order of the layer's tops, and ``fill(batch, out)``, which writes the arrays of batch
number `batch`. A batch is a pure function of its number, so any process may compute it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.layer_params import ERROR, JointDataParams, TargetDataParams
from sjft.levels import read_levels
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft.randomness import uniform
from sjft.sampling import ATTEMPTS, BatchPlan, ClassMembers, Epochs, JointSampler, stand_in
from sjft.selection import (
    check_neighbourhood_sizes,
    neighbourhood_sizes,
    read_neighbours,
    select,
)
from sjft.slots import show_record, shown_or_replaced
from sjft.small_images import refuse_small_images


class Batches:
    """What a data layer serves: see the module's text."""

    tops: dict[str, tuple[int, ...]]
    #: The last of the tops, which a net may leave out.
    optional_tops: tuple[str, ...] = ()
    #: Of tops that show pixels the mean, float32, in a shape to be subtracted from theirs. Worker
    #: processes pass these tops on as the pixels' bytes, a fourth of the memory and its traffic.
    means: Mapping[str, np.ndarray] = {}
    #: Top of labels -> how many classes they are of: one more than the greatest label.
    classes: Mapping[str, int] = {}

    def summary(self) -> str:
        """Return what is served, in a few words for the log."""
        raise NotImplementedError

    def fill(self, batch: int, out: Mapping[str, np.ndarray]) -> list[str]:
        """Write batch number `batch`, from 0, into `out`: arrays by top name.

        They are float32, as the net gets them; or, of tops that have a mean, uint8: then it is not
        subtracted yet, see copy_into. Tops that `out` lacks are left out. Returns a sentence for
        each image that could not be used and for which another stands in. Raises InputError naming
        an image that cannot be used if none may stand in for it, or none was found.
        """
        raise NotImplementedError

    def copy_into(self, out: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]) -> None:
        """Copy into `out`, float32 arrays by top name, a batch `made` with the pixels as uint8."""
        for name, array in out.items():
            if name in self.means:
                np.subtract(made[name], self.means[name], out=array)
            else:
                np.copyto(array, made[name])


class JointBatches(Batches):
    """Batches of JointDataLayer.

    Tops: ``data``, N x 3 x crop x crop, BGR, mean subtracted, first N/2 target images and then the
    source neighbour of each; ``target_labels``, ``source_labels`` (renumbered) and
    ``target_indices`` (positions in the target LMDB), N/2 each.

    `source_classes` is the number of source classes that take part.
    """

    optional_tops = ("target_indices",)

    def __init__(self, params: JointDataParams, rank: int = 0, ranks: int = 1) -> None:
        """Open the LMDBs, check that they fit, and select the source set. Raises InputError."""
        self._targets = _open_versions(params.target)
        target = self._targets[0]
        self._source = ImageLmdb(params.source, "source")
        neighbours = NeighbourLmdb(params.neighbours)
        neighbours.check_matches(target, self._source)
        levels = read_levels(params.levels, target)
        if levels.neighbours is None:
            sizes = neighbourhood_sizes(levels.levels, params.k0, neighbours.k, target.name)
        else:
            sizes = levels.neighbours
            check_neighbourhood_sizes(sizes, neighbours.k, target.name)
        self._selection = select(
            read_neighbours(neighbours, target, self._source, sizes),
            sizes,
            self._source.labels,
            params.min_source_per_class,
            target.name,
        )
        neighbours.close()
        used = [(images, np.arange(images.count)) for images in self._targets]
        used.append((self._source, np.flatnonzero(self._selection.labels >= 0)))
        refuse_small_images(used, params.geometry, _bearable(params))
        self._pairs = n = params.batch_size // 2
        self._sampler = JointSampler(
            target_labels=target.labels,
            levels=levels.levels,
            selection=self._selection,
            pairs=n,
            max_per_class=params.max_per_class,
            versions=len(self._targets),
            seed=params.seed,
        )
        self._params = params
        self._rank = rank
        self._ranks = ranks
        self.means = _means(params)
        crop = params.geometry.crop
        self.tops = {
            "data": (params.batch_size, 3, crop, crop),
            "target_labels": (n,),
            "source_labels": (n,),
            "target_indices": (n,),
        }
        self.source_classes = len(self._selection.classes)
        self.classes = {
            "target_labels": int(self._targets[0].labels.max()) + 1,
            "source_labels": self.source_classes,
        }

    def summary(self) -> str:
        """Return the sizes of both sets: see Batches."""
        return (
            f"{self._targets[0].count} target images, {self._selection.size} of "
            f"{self._source.count} source images selected, in {self.source_classes} classes"
        )

    def fill(self, batch: int, out: Mapping[str, np.ndarray]) -> list[str]:
        """Write batch number `batch`: see Batches."""
        n, p = self._pairs, self._params
        plan = self._sampler.plan(batch, self._rank, self._ranks)
        u = uniform(p.seed, "view", batch, self._rank, size=8 * n).reshape(2, n, 4)
        data = out["data"]
        bad: list[str] = []
        for j in range(n):
            bad += shown_or_replaced(
                partial(self._show_pair, plan, j, u[:, j], data[j::n]),
                partial(self._sampler.replace_pair, plan, j, batch, self._rank),
                p.on_bad_image,
            )
        labels = {
            "target_labels": self._targets[0].labels[plan.targets],
            "source_labels": self._selection.labels[plan.sources],
            "target_indices": plan.targets,
        }
        for name in labels.keys() & out.keys():
            out[name][...] = labels[name]
        return bad

    def _show_pair(self, plan: BatchPlan, j: int, u: np.ndarray, rows: np.ndarray) -> None:
        target = self._targets[int(plan.versions[j])]
        show_record(target, int(plan.targets[j]), self._params, u[0], rows[0])
        show_record(self._source, int(plan.sources[j]), self._params, u[1], rows[1])


class TargetBatches(Batches):
    """Batches of TargetDataLayer.

    Tops: ``data``, N x 3 x crop x crop, BGR, mean subtracted; ``labels``, N. Without a seed: the
    records in key order, central views, from the first again after the last. With a seed: shuffled
    epochs and random views.
    """

    def __init__(self, params: TargetDataParams, rank: int = 0, ranks: int = 1) -> None:
        """Open the LMDB. Raises InputError. `rank` and `ranks` matter only with a seed."""
        self._target = ImageLmdb(params.target, "target")
        all_images = np.arange(self._target.count)
        refuse_small_images([(self._target, all_images)], params.geometry, _bearable(params))
        self._params = params
        self._rank = rank
        self._ranks = ranks
        self._epochs: Epochs | None = None
        if params.seed is not None:
            if params.batch_size > self._target.count:
                raise InputError(
                    f"batch_size {params.batch_size} is larger than an epoch: {params.target} has "
                    f"only {self._target.count} images"
                )
            self._seed = params.seed
            self._epochs = Epochs(np.ones(self._target.count, np.int64), params.seed)
            self._members = ClassMembers(self._target.labels)
        self.means = _means(params)
        n, crop = params.batch_size, params.geometry.crop
        self.tops = {"data": (n, 3, crop, crop), "labels": (n,)}
        self.classes = {"labels": int(self._target.labels.max()) + 1}

    def summary(self) -> str:
        """Return the size of the set: see Batches."""
        order = "in order" if self._epochs is None else "shuffled"
        return f"{self._target.count} images of {self._params.target}, {order}"

    def fill(self, batch: int, out: Mapping[str, np.ndarray]) -> list[str]:
        """Write batch number `batch`: see Batches."""
        if self._epochs is None:
            bad: list[str] = []
            positions = self._fill_in_order(batch, out["data"])
        else:
            positions, bad = self._fill_shuffled(self._epochs, batch, out["data"])
        out["labels"][...] = self._target.labels[positions]
        return bad

    def _fill_in_order(self, batch: int, data: np.ndarray) -> np.ndarray:
        n = self._params.batch_size
        positions = (batch * n + np.arange(n)) % self._target.count
        for i, row in zip(positions.tolist(), data):
            show_record(self._target, i, self._params, None, row)
        return positions

    def _fill_shuffled(
        self, epochs: Epochs, batch: int, data: np.ndarray
    ) -> tuple[np.ndarray, list[str]]:
        p, n, rank = self._params, self._params.batch_size, self._rank
        positions = epochs.slots((batch * self._ranks + rank) * n, n)
        u = uniform(self._seed, "view", batch, rank, size=4 * n).reshape(n, 4)
        bad: list[str] = []
        for j in range(n):
            bad += shown_or_replaced(
                partial(self._show_image, positions, j, u[j], data[j]),
                partial(self._replace_image, positions, j, batch),
                p.on_bad_image,
            )
        return positions, bad

    def _show_image(self, positions: np.ndarray, j: int, u: np.ndarray, row: np.ndarray) -> None:
        show_record(self._target, int(positions[j]), self._params, u, row)

    def _replace_image(self, positions: np.ndarray, j: int, batch: int, attempt: int) -> None:
        numbers = uniform(self._seed, "stand-in", batch, self._rank, j, size=2 * ATTEMPTS)
        positions[j] = stand_in(int(positions[j]), self._members, attempt, numbers[attempt])


def _means(params: JointDataParams | TargetDataParams) -> dict[str, np.ndarray]:
    return {"data": params.mean.reshape(3, 1, 1)}


def _bearable(params: JointDataParams | TargetDataParams) -> int:
    """Return how many images may be bad before training stops."""
    return 0 if params.on_bad_image == ERROR else params.prefetch.max_bad_images


def _open_versions(paths: Sequence[str]) -> list[ImageLmdb]:
    versions = [ImageLmdb(path, "target") for path in paths]
    for other in versions[1:]:
        if not np.array_equal(other.labels, versions[0].labels):
            raise InputError(
                f"{other.path} is not another version of {versions[0].path}: expected the same "
                f"images in the same order, with the same labels"
            )
    return versions
