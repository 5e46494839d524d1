"""Image files as a user would have them: one folder a class, PNG inside."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from sjft_tools.atomic import new_folder
from sjft_tools.demo import digits, glyphs, textures

SOURCE_CLASSES = [*glyphs.CLASS_NAMES, *textures.CLASS_NAMES]


def write_class_folders(
    path: Path, images: np.ndarray, labels: np.ndarray, class_names: list[str]
) -> None:
    """Write N x 32 x 32 uint8 images to PATH/CLASS/NUMBER.png, replacing what PATH held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(str(path), force=True) as folder:
        for name in class_names:
            Path(folder, name).mkdir()
        for number, (image, label) in enumerate(zip(images, labels)):
            file = Path(folder, class_names[label], f"{number:05d}.png")
            if not cv2.imwrite(str(file), image):
                raise OSError(f"OpenCV could not write {file}")


def write_target(train_path: Path, test_path: Path, per_class: int, seed: int) -> tuple[int, int]:
    """Write the digits: `per_class` of each class to train on, the rest to test on.

    Returns how many there are of both.
    """
    images, labels = digits.load_images()
    train, test = digits.split(labels, per_class, seed)
    write_class_folders(train_path, images[train], labels[train], digits.CLASS_NAMES)
    write_class_folders(test_path, images[test], labels[test], digits.CLASS_NAMES)
    return len(train), len(test)


def draw_source(glyphs_per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the source, N x 32 x 32 uint8 and int64 labels into SOURCE_CLASSES.

    Glyphs first, then as many textures (to the next multiple of the number of texture classes).
    """
    useful, useful_labels = glyphs.draw_glyphs(glyphs_per_class, seed)
    per_texture = -(-len(useful) // len(textures.CLASS_NAMES))
    useless, useless_labels = textures.paint_textures(per_texture, seed)
    labels = np.concatenate([useful_labels, useless_labels + len(glyphs.CLASS_NAMES)])
    return np.concatenate([useful, useless]), labels


def write_source(path: Path, glyphs_per_class: int, seed: int) -> int:
    """Draw the source and write it under `path`; return the number of images."""
    images, labels = draw_source(glyphs_per_class, seed)
    write_class_folders(path, images, labels, SOURCE_CLASSES)
    return len(images)
