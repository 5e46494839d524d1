"""ImageNet and Places205, small, as they are downloaded."""

from __future__ import annotations

from pathlib import Path

from published_sets import devkit_meta, picture, tar_bytes, write_tree

WNIDS = ["n01440764", "n01443537", "n01484850"]
#: in the order of ILSVRC2012_ID, which is not that of the WordNet ids
BY_ID = [WNIDS[2], WNIDS[0], WNIDS[1]]
WORDS = {WNIDS[0]: "tench, Tinca tinca", WNIDS[1]: "goldfish", WNIDS[2]: "great white shark"}
TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def devkit(ids: list[int]) -> list[tuple[str, bytes]]:
    top = "ILSVRC2012_devkit_t12/data"
    return [
        (f"{top}/meta.mat", devkit_meta(BY_ID, [WORDS[wnid] for wnid in BY_ID])),
        (f"{top}/{TRUTH}", "".join(f"{i}\n" for i in ids).encode()),
    ]


def val_images(count: int) -> list[tuple[str, bytes]]:
    return [(f"ILSVRC2012_val_{i:08d}.JPEG", picture(i)) for i in range(1, count + 1)]


def write_imagenet(folder: Path) -> Path:
    """Six images to train on and four to validate, of three synsets."""
    inner = []
    for label in (2, 0, 1):  # in no order
        files = [(f"{WNIDS[label]}_{i}.JPEG", picture(10 * label + i)) for i in (2, 1)]
        inner.append((f"{WNIDS[label]}.tar", tar_bytes(files)))
    write_tree(
        folder,
        [
            ("ILSVRC2012_img_train.tar", tar_bytes(inner)),
            ("ILSVRC2012_img_val.tar", tar_bytes(val_images(4))),
            ("ILSVRC2012_devkit_t12.tar.gz", tar_bytes(devkit([1, 2, 3, 1]), "w:gz")),
        ],
    )
    return folder


def write_places(folder: Path) -> Path:
    """Three images of two scenes."""
    top = "data/vision/torralba/deeplearning/images256"
    paths = ["a/abbey/gsun_1.jpg", "a/apartment_building/outdoor/gsun_2.jpg", "a/abbey/gsun_3.jpg"]
    files = [(f"{top}/{path}", picture(i)) for i, path in enumerate(paths)]
    text = f"{paths[1]} 1\n{paths[0]} 0\n{paths[2]} 0\n"
    lists = [("trainvalsplit_places205/train_places205.csv", text.encode())]
    write_tree(
        folder,
        [
            ("imagesPlaces205_resize.tar.gz", tar_bytes(files, "w:gz")),
            ("trainvalsplit_places205.tar.gz", tar_bytes(lists, "w:gz")),
        ],
    )
    return folder
