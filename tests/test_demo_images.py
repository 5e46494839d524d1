"""The demo's drawn images: same for the same seed, no digits in the source, the right counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sjft.errors import InputError
from sjft_tools.demo import digits, folders, glyphs, textures

PER_CLASS = 4


def test_source_is_the_same_for_the_same_seed_only() -> None:
    first, labels = folders.draw_source(PER_CLASS, seed=3)
    again, _ = folders.draw_source(PER_CLASS, seed=3)
    other, other_labels = folders.draw_source(PER_CLASS, seed=4)
    assert first.tobytes() == again.tobytes()
    assert (labels == other_labels).all()
    changed = (first != other).any(axis=(1, 2))
    assert changed.mean() > 0.99


def test_source_is_one_half_glyphs_and_the_other_textures() -> None:
    images, labels = folders.draw_source(PER_CLASS, seed=1)
    counts = np.bincount(labels, minlength=len(folders.SOURCE_CLASSES))
    glyph_counts = counts[: len(glyphs.CLASS_NAMES)]
    texture_counts = counts[len(glyphs.CLASS_NAMES) :]
    assert images.shape == (len(labels), 32, 32)
    assert images.dtype == np.uint8
    assert (glyph_counts == PER_CLASS).all()
    assert len(set(texture_counts.tolist())) == 1
    assert glyph_counts.sum() == texture_counts.sum()


def test_every_source_image_shows_something() -> None:
    images, _ = folders.draw_source(PER_CLASS, seed=2)
    assert (images.max(axis=(1, 2)).astype(int) - images.min(axis=(1, 2)) > 60).all()


def test_source_has_no_digits() -> None:
    assert not set(glyphs.CHARACTERS) & set("0123456789")
    assert not set(glyphs.CHARACTERS) & set("IOlo|")
    assert len(set(glyphs.CHARACTERS)) == len(glyphs.CHARACTERS)
    assert len(set(folders.SOURCE_CLASSES)) == len(glyphs.CHARACTERS) + len(textures.TEXTURES)
    # also on a file system that does not tell upper from lower case
    assert len({name.lower() for name in folders.SOURCE_CLASSES}) == len(folders.SOURCE_CLASSES)


def test_glyphs_have_the_digits_grey_statistics() -> None:
    drawn, _ = glyphs.draw_glyphs(PER_CLASS, seed=1)
    real, _ = digits.load_images()
    for level in (10, 64, 128, 240):
        assert abs((drawn < level).mean() - (real < level).mean()) < 0.12, level


def test_split_takes_a_few_per_class_and_leaves_the_rest() -> None:
    _, labels = digits.load_images()
    train, test = digits.split(labels, per_class=5, seed=1)
    assert (np.bincount(labels[train]) == 5).all()
    assert sorted([*train, *test]) == list(range(len(labels)))
    same, _ = digits.split(labels, per_class=5, seed=1)
    other, _ = digits.split(labels, per_class=5, seed=2)
    assert (train == same).all()
    assert (train != other).any()


@pytest.mark.parametrize("per_class", [0, 174, 500])
def test_split_refuses_what_leaves_nothing_to_train_or_test_on(per_class: int) -> None:
    _, labels = digits.load_images()
    with pytest.raises(InputError, match=f"--per-class is {per_class}; expected 1 to 173"):
        digits.split(labels, per_class, seed=1)


def test_class_folders_replace_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "images"
    images = np.zeros((3, 32, 32), np.uint8)
    folders.write_class_folders(place, images, np.array([0, 0, 1]), ["a", "b"])
    folders.write_class_folders(place, images[:2], np.array([1, 1]), ["a", "b"])
    assert sorted(str(p.relative_to(place)) for p in place.rglob("*.png")) == [
        "b/00000.png",
        "b/00001.png",
    ]
