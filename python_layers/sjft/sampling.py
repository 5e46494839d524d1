"""Which images make up a batch: pure functions of (seed, batch number, rank).

Sampling follows the method's section 4. Every target image i is visited l_i times per epoch, in an
order that is shuffled anew for each epoch. Of this endless stream, batch b of rank r takes the n
slots from (b * ranks + r) * n on, so that the ranks together see each epoch exactly once. No batch
depends on an earlier one: any process can compute any batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sjft.errors import InputError
from sjft.randomness import permutation, scale_to_integers, uniform
from sjft.selection import Selection


class Epochs:
    """The endless stream of target images: one shuffled epoch after another.

    `length` is the number of slots in an epoch, the sum of the levels.
    """

    def __init__(self, levels: np.ndarray, seed: int) -> None:
        """`levels`: int (targets,), how often each target image stands in an epoch."""
        self._visits = np.repeat(np.arange(len(levels)), levels)
        self._seed = seed
        self._orders: dict[int, np.ndarray] = {}
        self.length = len(self._visits)

    def order(self, epoch: int) -> np.ndarray:
        """Return the target images of `epoch` (from 0) in their order, int64 (length,)."""
        if epoch not in self._orders:
            if len(self._orders) == 2:  # a batch touches two epochs at most
                del self._orders[min(self._orders)]
            shuffled = permutation(self.length, self._seed, "epoch order", epoch)
            self._orders[epoch] = self._visits[shuffled]
        return self._orders[epoch]

    def slots(self, first: int, count: int) -> np.ndarray:
        """Return the target images in slots first..first+count-1 of the stream, int64 (count,)."""
        pieces = []
        while count > 0:
            epoch, start = divmod(first, self.length)
            piece = self.order(epoch)[start : start + count]
            pieces.append(piece)
            first, count = first + len(piece), count - len(piece)
        return np.concatenate(pieces)


class ClassMembers:
    """The target images of each class, classes counted from 0 among those that have images.

    `count`: the number of classes; `class_of`: int64 (targets,), the class of each image.
    """

    def __init__(self, labels: np.ndarray) -> None:
        """`labels`: int (targets,)."""
        values, self.class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
        self.count = len(values)
        self._by_class = np.argsort(self.class_of, kind="stable")
        self._ends = np.cumsum(counts)
        self._sizes = counts

    def members(self, c: int) -> np.ndarray:
        """Return the target images of class `c`, int64 (m,), ascending."""
        return self._by_class[self._ends[c] - self._sizes[c] : self._ends[c]]


def limit_classes(
    targets: np.ndarray, members: ClassMembers, max_per_class: int, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Replace target images so that no class stands more than `max_per_class` times in the batch.

    Slots are looked at in order. One whose class is full already gets a random image of a random
    class that is not in the batch yet; if all classes are, of one that stands there least often.
    `u`: float64 (n, 2) in [0, 1), the random numbers for each slot. n must not exceed
    max_per_class * classes.

    Returns the target images, int64 (n,), and which of them are replacements, bool (n,).
    """
    chosen = targets.copy()
    replaced = np.zeros(len(targets), bool)
    counts = np.zeros(members.count, np.int64)
    for j, i in enumerate(targets):
        c = members.class_of[i]
        if counts[c] == max_per_class:
            rarest = np.flatnonzero(counts == counts.min())
            c = rarest[scale_to_integers(u[j, 0], len(rarest))]
            candidates = members.members(c)
            chosen[j] = candidates[scale_to_integers(u[j, 1], len(candidates))]
            replaced[j] = True
        counts[c] += 1
    return chosen, replaced


#: How often another image is sought in the place of one that cannot be used: so often in its own
#: class, and as often again in the whole target set.
ATTEMPTS = 10


def stand_in(bad: int, members: ClassMembers, attempt: int, u: float) -> int:
    """Return the target image that takes the place of `bad` at `attempt`, 0..2 * ATTEMPTS - 1.

    It is of the same class, so that the class limit holds; only when ATTEMPTS draws from the class
    have not helped is it any. The draw, by `u` in [0, 1), may give `bad` itself: in a pair it may
    have been the source image that cannot be used.
    """
    if attempt < ATTEMPTS:
        candidates = members.members(int(members.class_of[bad]))
        return int(candidates[scale_to_integers(np.float64(u), len(candidates))])
    return int(scale_to_integers(np.float64(u), len(members.class_of)))


class BatchPlan(NamedTuple):
    """The n pairs of a joint batch, all arrays of length n.

    `targets`: positions in the target LMDB; `versions`: which stored version of each; `sources`:
    positions in the source LMDB; `replaced`: whether the pair took the place of another,
    because of the class limit or of an image that cannot be used.
    """

    targets: np.ndarray
    versions: np.ndarray
    sources: np.ndarray
    replaced: np.ndarray


class JointSampler:
    """Draws the pairs (target image, one of its source neighbours) of every batch."""

    def __init__(
        self,
        target_labels: np.ndarray,
        levels: np.ndarray,
        selection: Selection,
        pairs: int,
        max_per_class: int | None,
        versions: int,
        seed: int,
    ) -> None:
        """`pairs` is n, half the batch size; `max_per_class` None lifts the class limit.

        Raises InputError if a batch would be larger than an epoch, or if the target set has too few
        classes for the class limit to hold.
        """
        self._epochs = Epochs(levels, seed)
        self._members = ClassMembers(target_labels)
        self._selection = selection
        self._pairs = pairs
        self._max_per_class = None if max_per_class is None else min(max_per_class, pairs)
        self._versions = versions
        self._seed = seed
        if pairs > self._epochs.length:
            raise InputError(
                f"batch_size {2 * pairs} takes {pairs} target images a batch, but an epoch has "
                f"only {self._epochs.length}: expected a batch_size of at most "
                f"{2 * self._epochs.length}"
            )
        most = pairs if max_per_class is None else max_per_class * self._members.count
        if pairs > most:
            raise InputError(
                f"batch_size {2 * pairs} takes {pairs} target images a batch, but max_per_class = "
                f"{max_per_class} allows only {most} with {self._members.count} target classes: "
                f"lower batch_size to {2 * most}, raise max_per_class to "
                f"{-(-pairs // self._members.count)}, or lift the limit with null"
            )

    def plan(self, batch: int, rank: int = 0, ranks: int = 1) -> BatchPlan:
        """Return the plan of batch number `batch` (from 0) of `rank` (0..ranks-1)."""
        n, draw = self._pairs, (batch, rank)
        targets = self._epochs.slots((batch * ranks + rank) * n, n)
        replaced = np.zeros(n, bool)
        if self._max_per_class is not None:
            u = uniform(self._seed, "class limit", *draw, size=2 * n).reshape(n, 2)
            targets, replaced = limit_classes(targets, self._members, self._max_per_class, u)
        sources = self._neighbours(targets, uniform(self._seed, "source", *draw, size=n))
        u = uniform(self._seed, "version", *draw, size=n)
        versions = scale_to_integers(u, self._versions)
        return BatchPlan(targets, versions, sources, replaced)

    def replace_pair(self, plan: BatchPlan, j: int, batch: int, rank: int, attempt: int) -> None:
        """Put another pair into slot `j` of `plan`, that of `batch` and `rank`, where one is bad.

        The new pair is a target image drawn by stand_in and a neighbour of its own.
        """
        u = uniform(self._seed, "stand-in", batch, rank, j, size=6 * ATTEMPTS)
        u = u.reshape(2 * ATTEMPTS, 3)[attempt]
        i = stand_in(int(plan.targets[j]), self._members, attempt, u[0])
        plan.targets[j] = i
        plan.versions[j] = scale_to_integers(u[1], self._versions)
        plan.sources[j] = self._neighbours(np.array([i]), u[2:])[0]
        plan.replaced[j] = True

    def _neighbours(self, targets: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return a source neighbour of each target image, drawn by `u`, int64 (n,)."""
        starts = self._selection.offsets[targets]
        choices = self._selection.offsets[targets + 1] - starts
        chosen = self._selection.neighbours[starts + scale_to_integers(u, choices)]
        return chosen.astype(np.int64)
