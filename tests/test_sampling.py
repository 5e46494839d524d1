"""Selection and sampling: properties over grids of settings, on plain arrays."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from sjft.errors import InputError
from sjft.sampling import ClassMembers, Epochs, JointSampler, limit_classes
from sjft.selection import Selection, neighbourhood_sizes, select

TARGETS, SOURCES, K, SOURCE_CLASSES = 23, 300, 40, 12


def name(i: int) -> str:
    return f"image {i} of targets_lmdb"


def world(
    k0: int = 8, min_source_per_class: int = 0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray, Selection]:
    """Random target labels, levels, neighbour rows, source labels, and the selection from them."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(TARGETS) % 6)
    levels = rng.integers(1, 5, TARGETS)
    rows = [rng.choice(SOURCES, K, replace=False) for _ in range(TARGETS)]
    source_labels = (rng.random(SOURCES) ** 2 * SOURCE_CLASSES).astype(np.int32)
    sizes = neighbourhood_sizes(levels, k0, K, name)
    flat = np.concatenate([row[:size] for row, size in zip(rows, sizes)]).astype(np.int32)
    selection = select(flat, sizes, source_labels, min_source_per_class, name)
    return labels, levels, rows, source_labels, selection


@pytest.mark.parametrize(
    "k0, minimum, seed", list(itertools.product((1, 5, 10), (0, 3, 9), range(3)))
)
def test_selection_against_a_literal_reading(k0: int, minimum: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.integers(1, 5, TARGETS)
    rows = [rng.choice(SOURCES, K, replace=False) for _ in range(TARGETS)]
    source_labels = (rng.random(SOURCES) ** 2 * SOURCE_CLASSES).astype(np.int32)
    used = [row[: k0 * level].tolist() for row, level in zip(rows, levels)]
    selected = set().union(*used)
    counts = Counter(int(source_labels[s]) for s in selected)
    kept = sorted(c for c, count in counts.items() if count >= minimum)
    new_label = {old: new for new, old in enumerate(kept)}
    expected = [[s for s in row if int(source_labels[s]) in new_label] for row in used]

    sizes = neighbourhood_sizes(levels, k0, K, name)
    flat = np.concatenate(used).astype(np.int32)
    if not all(expected):
        with pytest.raises(InputError, match="has no neighbour left"):
            select(flat, sizes, source_labels, minimum, name)
        return
    selection = select(flat, sizes, source_labels, minimum, name)
    assert [selection.of(i).tolist() for i in range(TARGETS)] == expected
    assert selection.classes.tolist() == kept
    assert selection.size == sum(counts[c] for c in kept)
    for s in range(SOURCES):
        is_in = s in selected and int(source_labels[s]) in new_label
        assert selection.labels[s] == (new_label[int(source_labels[s])] if is_in else -1)


def test_a_target_left_without_neighbour_is_named() -> None:
    source_labels = np.array([0, 0, 0, 1], np.int32)
    flat = np.array([0, 1, 1, 2, 3, 3], np.int32)
    sizes = np.array([2, 2, 1, 1])
    with pytest.raises(InputError) as error:
        select(flat, sizes, source_labels, 2, name)
    assert str(error.value).startswith("image 2 of targets_lmdb has no neighbour left")
    assert "min_source_per_class = 2" in str(error.value)


def test_more_neighbours_than_retrieved_is_an_error() -> None:
    levels = np.array([1, 4, 2])
    assert neighbourhood_sizes(levels, 10, 40, name).tolist() == [10, 40, 20]
    with pytest.raises(InputError) as error:
        neighbourhood_sizes(levels, 11, 40, name)
    assert "k0 = 11 at level 4 asks for 44 neighbours of image 1" in str(error.value)
    assert "only 40 were retrieved" in str(error.value)


@pytest.mark.parametrize("seed, epoch", list(itertools.product((1, 2), range(3))))
def test_an_epoch_visits_every_target_as_often_as_its_level(seed: int, epoch: int) -> None:
    levels = np.random.default_rng(seed).integers(1, 11, TARGETS)
    epochs = Epochs(levels, seed)
    assert epochs.length == levels.sum()
    order = epochs.order(epoch)
    assert np.bincount(order, minlength=TARGETS).tolist() == levels.tolist()
    assert not np.array_equal(order, epochs.order(epoch + 1))
    assert np.array_equal(order, Epochs(levels, seed).order(epoch))


@pytest.mark.parametrize("ranks, pairs", list(itertools.product((1, 2, 3), (1, 4, 9))))
def test_the_ranks_together_see_exactly_the_stream_of_epochs(ranks: int, pairs: int) -> None:
    labels, levels, _, _, selection = world()
    sampler = JointSampler(labels, levels, selection, pairs, None, 1, seed=5)
    epochs = Epochs(levels, 5)
    batches = -(-3 * epochs.length // (pairs * ranks))
    seen = [sampler.plan(b, r, ranks).targets for b in range(batches) for r in range(ranks)]
    stream = np.concatenate([epochs.order(e) for e in range(4)])
    assert np.array_equal(np.concatenate(seen), stream[: batches * ranks * pairs])


@pytest.mark.parametrize("minimum, seed", list(itertools.product((0, 6), range(4))))
def test_sources_are_drawn_from_the_targets_own_neighbours(minimum: int, seed: int) -> None:
    labels, levels, _, _, selection = world(min_source_per_class=minimum, seed=seed)
    sampler = JointSampler(labels, levels, selection, 10, 2, 3, seed=seed)
    replaced = 0
    versions: set[int] = set()
    drawn: dict[int, set[int]] = {i: set() for i in range(TARGETS)}
    for batch in range(1500):
        plan = sampler.plan(batch)
        replaced += plan.replaced.sum()
        versions.update(plan.versions.tolist())
        for i, s in zip(plan.targets.tolist(), plan.sources.tolist()):
            assert s in selection.of(i)
            drawn[i].add(s)
    assert replaced > 0
    assert versions == {0, 1, 2}
    # every neighbour has its turn: 1500 batches draw each many times over
    assert all(drawn[i] == set(selection.of(i).tolist()) for i in range(TARGETS))


@pytest.mark.parametrize("pairs, limit", [(6, 1), (9, 2), (12, 2), (17, 3)])
def test_class_limit(pairs: int, limit: int) -> None:
    labels, levels, _, _, selection = world()
    free = JointSampler(labels, levels, selection, pairs, None, 1, seed=3)
    limited = JointSampler(labels, levels, selection, pairs, limit, 1, seed=3)
    for batch in range(200):
        before, plan = free.plan(batch).targets, limited.plan(batch)
        assert Counter(labels[plan.targets].tolist()).most_common(1)[0][1] <= limit
        assert np.array_equal(plan.targets[~plan.replaced], before[~plan.replaced])
        for j in np.flatnonzero(plan.replaced):
            in_batch = Counter(labels[plan.targets[:j]].tolist())
            assert in_batch[labels[before[j]]] == limit
            # a class that is not there yet, or else one of those that are there least often
            least = min(in_batch[c] for c in np.unique(labels))
            assert in_batch[labels[plan.targets[j]]] == least


def test_replacements_are_spread_over_classes_and_images() -> None:
    members = ClassMembers(np.array([0, 0, 0, 5, 5, 7]))
    seen = Counter()
    rng = np.random.default_rng(0)
    for _ in range(1000):
        chosen, replaced = limit_classes(np.array([0, 1, 2]), members, 2, rng.random((3, 2)))
        assert replaced.tolist() == [False, False, True]
        seen[int(chosen[2])] += 1
    assert set(seen) == {3, 4, 5}
    assert 400 < seen[5] < 600


def test_batches_are_a_pure_function_of_seed_number_and_rank() -> None:
    labels, levels, _, _, selection = world()

    def plans(seed: int, numbers: list[int], rank: int = 0, ranks: int = 1) -> list:
        sampler = JointSampler(labels, levels, selection, 9, 2, 2, seed)
        return [sampler.plan(b, rank, ranks) for b in numbers]

    straight = plans(1, list(range(40)))
    backwards = plans(1, list(range(40))[::-1])[::-1]
    for one, other in zip(straight, backwards):
        assert all(np.array_equal(a, b) for a, b in zip(one, other))
    for plan in (plans(2, [7])[0], plans(1, [7], 1, 2)[0]):
        assert not np.array_equal(plan.sources, straight[7].sources)


def test_set_up_refuses_what_cannot_be_sampled() -> None:
    labels, levels, _, _, selection = world()
    with pytest.raises(InputError) as error:
        JointSampler(labels, levels, selection, 13, 2, 1, seed=1)
    assert "max_per_class = 2 allows only 12 with 6 target classes" in str(error.value)
    assert "lower batch_size to 24, raise max_per_class to 3, or lift the limit" in str(error.value)
    with pytest.raises(InputError, match="an epoch has only"):
        JointSampler(labels, levels, selection, int(levels.sum()) + 1, None, 1, seed=1)


def test_selection_of_imagenets_size() -> None:
    rng = np.random.default_rng(0)
    targets, k, sources = 3000, 5000, 1_281_167
    flat = rng.integers(0, sources, targets * k, dtype=np.int32)
    source_labels = rng.integers(0, 1000, sources, dtype=np.int32)
    selection = select(flat, np.full(targets, k), source_labels, 50, name)
    assert len(selection.classes) == 1000
