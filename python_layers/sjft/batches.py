"""Finished batches: the arrays of a data layer's tops for any batch number.

Both kinds of batches have the same interface (:class:`Batches`): `tops`, the shape of each top by
name, in the order of the layer's tops, and ``fill(batch, out)``, which writes the float32 arrays of
batch number `batch`. A batch is a pure function of its number, so any process may compute it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.layer_params import JointDataParams, TargetDataParams
from sjft.levels import read_levels
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft.randomness import uniform
from sjft.sampling import Epochs, JointSampler
from sjft.selection import neighbourhood_sizes, read_neighbours, select
from sjft.transforms import Geometry, apply_view, central_view, random_view


class Batches:
    """What a data layer serves: see the module's text."""

    tops: dict[str, tuple[int, ...]]
    #: The last of the tops, which a net may leave out.
    optional_tops: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return what is served, in a few words for the log."""
        raise NotImplementedError

    def fill(self, batch: int, out: Mapping[str, np.ndarray]) -> None:
        """Write batch number `batch`, from 0, into `out`: float32 arrays by top name.

        Tops that `out` lacks are left out. Raises InputError naming an image that cannot be used.
        """
        raise NotImplementedError


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
        sizes = neighbourhood_sizes(levels, params.k0, neighbours.k, target.name)
        self._selection = select(
            read_neighbours(neighbours, target, self._source, sizes),
            sizes,
            self._source.labels,
            params.min_source_per_class,
            target.name,
        )
        neighbours.close()
        self._pairs = n = params.batch_size // 2
        self._sampler = JointSampler(
            target_labels=target.labels,
            levels=levels,
            selection=self._selection,
            pairs=n,
            max_per_class=params.max_per_class,
            versions=len(self._targets),
            seed=params.seed,
        )
        self._params = params
        self._rank = rank
        self._ranks = ranks
        crop = params.geometry.crop
        self.tops = {
            "data": (params.batch_size, 3, crop, crop),
            "target_labels": (n,),
            "source_labels": (n,),
            "target_indices": (n,),
        }
        self.source_classes = len(self._selection.classes)

    def summary(self) -> str:
        """Return the sizes of both sets: see Batches."""
        return (
            f"{self._targets[0].count} target images, {self._selection.size} of "
            f"{self._source.count} source images selected, in {self.source_classes} classes"
        )

    def fill(self, batch: int, out: Mapping[str, np.ndarray]) -> None:
        """Write batch number `batch`: see Batches."""
        plan = self._sampler.plan(batch, self._rank, self._ranks)
        n, p = self._pairs, self._params
        images = [(self._targets[v], int(i)) for v, i in zip(plan.versions, plan.targets)]
        images += [(self._source, int(i)) for i in plan.sources]
        u = uniform(p.seed, "view", batch, self._rank, size=8 * n).reshape(2 * n, 4)
        _fill_random_views(images, u, p.geometry, p.mean, out["data"])
        labels = {
            "target_labels": self._targets[0].labels[plan.targets],
            "source_labels": self._selection.labels[plan.sources],
            "target_indices": plan.targets,
        }
        for name in labels.keys() & out.keys():
            out[name][...] = labels[name]


class TargetBatches(Batches):
    """Batches of TargetDataLayer.

    Tops: ``data``, N x 3 x crop x crop, BGR, mean subtracted; ``labels``, N. Without a seed: the
    records in key order, central views, from the first again after the last. With a seed: shuffled
    epochs and random views.
    """

    def __init__(self, params: TargetDataParams, rank: int = 0, ranks: int = 1) -> None:
        """Open the LMDB. Raises InputError. `rank` and `ranks` matter only with a seed."""
        self._target = ImageLmdb(params.target, "target")
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
            self._epochs = Epochs(np.ones(self._target.count, np.int64), params.seed)
        n, crop = params.batch_size, params.geometry.crop
        self.tops = {"data": (n, 3, crop, crop), "labels": (n,)}

    def summary(self) -> str:
        """Return the size of the set: see Batches."""
        order = "in order" if self._epochs is None else "shuffled"
        return f"{self._target.count} images of {self._params.target}, {order}"

    def fill(self, batch: int, out: Mapping[str, np.ndarray]) -> None:
        """Write batch number `batch`: see Batches."""
        p, n = self._params, self._params.batch_size
        if p.seed is None or self._epochs is None:
            positions = (batch * n + np.arange(n)) % self._target.count
            for i, row in zip(positions.tolist(), out["data"]):
                image, name = self._target.image(i), self._target.name(i)
                view = central_view(image.shape[0], image.shape[1], p.geometry, name)
                apply_view(image, view, p.geometry.crop, p.mean, row)
        else:
            positions = self._epochs.slots((batch * self._ranks + self._rank) * n, n)
            images = [(self._target, int(i)) for i in positions]
            u = uniform(p.seed, "view", batch, self._rank, size=4 * n).reshape(n, 4)
            _fill_random_views(images, u, p.geometry, p.mean, out["data"])
        out["labels"][...] = self._target.labels[positions]


def _open_versions(paths: Sequence[str]) -> list[ImageLmdb]:
    versions = [ImageLmdb(path, "target") for path in paths]
    for other in versions[1:]:
        if not np.array_equal(other.labels, versions[0].labels):
            raise InputError(
                f"{other.path} is not another version of {versions[0].path}: expected the same "
                f"images in the same order, with the same labels"
            )
    return versions


def _fill_random_views(
    images: Sequence[tuple[ImageLmdb, int]],
    u: np.ndarray,
    geometry: Geometry,
    mean: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write a random view of each image (LMDB, position) into out, N x 3 x crop x crop."""
    for (lmdb, i), numbers, row in zip(images, u, out):
        image = lmdb.image(i)
        height, width = image.shape[:2]
        view = random_view(height, width, geometry, numbers, lmdb.name(i))
        apply_view(image, view, geometry.crop, mean, row)
