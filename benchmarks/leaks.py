"""How surely `sjft leaks` finds disguised copies of photographs, and what else it takes for one.

    python benchmarks/leaks.py FLOWERS TINY_IMAGENET

Two folders of images with a labels.csv each (columns path, split, ...), as docs/flowers17.md lists
them. Measured are, at several thresholds:

1. found: the share of the flowers' test images of which a disguised copy is found, by disguise;
2. taken: pairs of a test image with other images that reach the threshold: of the flowers' training
   images, which do hold some of the test images, and of Tiny ImageNet, which holds none;
3. of pairs of equal files within Tiny ImageNet, how many are found, and what else is;
4. images per second of the pass over Tiny ImageNet, reading from an LMDB.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Callable

import cv2
import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.leaks.search import Pair, TestImages, find_pairs

THRESHOLDS = (0.75, 0.8, 0.85, 0.9, 0.95)
Disguise = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def resized(size: int) -> Disguise:
    def disguise(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
        method = cv2.INTER_AREA if size < min(image.shape[:2]) else cv2.INTER_CUBIC
        return cv2.resize(image, (size, size), interpolation=method)

    return disguise


def cropped(low: float, high: float) -> Disguise:
    """Cut out a part with a random share of the image's sides, at a random place."""

    def disguise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        share = rng.uniform(low, high)
        height, width = (round(side * share) for side in image.shape[:2])
        top = rng.integers(image.shape[0] - height + 1)
        left = rng.integers(image.shape[1] - width + 1)
        return image[top : top + height, left : left + width]

    return disguise


def shaded(factor: float, plus: float) -> Disguise:
    return lambda image, _: np.clip(image * factor + plus, 0, 255).astype(np.uint8)


def mirrored(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return image[:, ::-1]


#: name -> JPEG quality, and what is done first
DISGUISES: dict[str, tuple[int, list[Disguise]]] = {
    "JPEG, quality 50": (50, []),
    "JPEG, quality 20": (20, []),
    **{f"{size} x {size}": (90, [resized(size)]) for size in (32, 64, 128, 256)},
    "cropped by up to 5 %": (90, [cropped(0.95, 1)]),
    "cropped by 5 to 10 %": (90, [cropped(0.9, 0.95)]),
    "cropped by 10 to 15 %": (90, [cropped(0.85, 0.9)]),
    "cropped by up to 5 %, 32 x 32": (90, [cropped(0.95, 1), resized(32)]),
    "mirrored": (90, [mirrored]),
    "brighter": (90, [shaded(1.2, 20)]),
    "darker": (90, [shaded(0.6, 0)]),
    "more contrast": (90, [shaded(1.4, -51)]),
    "cropped by up to 5 %, mirrored, 64 x 64, brighter": (
        70,
        [cropped(0.95, 1), mirrored, resized(64), shaded(1.1, 10)],
    ),
}


def paths(folder: Path, split: str) -> list[Path]:
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        return [folder / row["path"] for row in csv.DictReader(stream) if row["split"] == split]


def write(path: Path, contents: list[bytes]) -> ImageLmdb:
    with ImageLmdbWriter(str(path)) as writer:
        for content in contents:
            writer.add(encoded_datum(content, 0), 0)
    return ImageLmdb(str(path))


def copies(files: list[Path], name: str) -> list[bytes]:
    quality, steps = DISGUISES[name]
    rng = np.random.default_rng(1)
    contents = []
    for file in files:
        image = cv2.imread(str(file))
        for step in steps:
            image = step(image, rng)
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        contents.append(encoded.tobytes())
    return contents


def report(position: int, sentence: str) -> None:
    raise SystemExit(sentence)


def pairs(tests: TestImages, source: ImageLmdb) -> list[Pair]:
    return list(itertools.chain.from_iterable(find_pairs(tests, source, THRESHOLDS[0], report)))


def line(name: str, likenesses: list[float], total: int | None = None) -> str:
    counts = [sum(value >= threshold for value in likenesses) for threshold in THRESHOLDS]
    if total is None:
        return f"{name:<52}" + "".join(f"{count:8d}" for count in counts)
    return f"{name:<52}" + "".join(f"{100 * count / total:7.1f}%" for count in counts)


def own_duplicates(folder: Path, files: list[Path]) -> None:
    """Take one of each pair of equal files, and 480 others, for a test set."""
    by_content: dict[str, list[int]] = {}
    contents = [file.read_bytes() for file in files]
    for i, content in enumerate(contents):
        by_content.setdefault(hashlib.sha256(content).hexdigest(), []).append(i)
    equal = [group for group in by_content.values() if len(group) > 1]
    chosen = [group[0] for group in equal]
    taken = set(chosen)
    chosen += [i for i in range(0, len(files), len(files) // 480) if i not in taken]
    taken = set(chosen)
    tests = TestImages(write(folder / "own_test", [contents[i] for i in chosen]), report)
    rest = [i for i in range(len(files)) if i not in taken]
    found = pairs(tests, write(folder / "own_source", [contents[i] for i in rest]))
    kinds = Counter("identical" if pair.is_identical else "near" for pair in found)
    print(f"\n{len(equal)} of {len(chosen)} test images are in the source: {dict(kinds)}")
    print(line("near ones", [pair.likeness for pair in found if not pair.is_identical]))
    for pair in found:
        if not pair.is_identical and pair.likeness >= 0.85:
            names = files[chosen[pair.test]].name, files[rest[pair.source]].name
            print(f"  {names[0]} {names[1]} {pair.likeness:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flowers", type=Path)
    parser.add_argument("tiny", type=Path)
    args = parser.parse_args()
    files = paths(args.flowers, "test")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tests = TestImages(write(folder / "test", [file.read_bytes() for file in files]), report)
        print(f"{'found, of ' + str(len(files)):<52}" + "".join(f"{t:8}" for t in THRESHOLDS))
        for n, name in enumerate(DISGUISES):
            source = write(folder / f"copies_{n}", copies(files, name))
            own = [pair.likeness for pair in pairs(tests, source) if pair.test == pair.source]
            print(line(name, own, len(files)), flush=True)
        print("\ntaken, pairs")
        others = [file.read_bytes() for file in paths(args.flowers, "train")]
        found = pairs(tests, write(folder / "train", others))
        print(line(f"of {len(others)} training images", [pair.likeness for pair in found]))
        small = paths(args.tiny, "train")
        source = write(folder / "tiny", [file.read_bytes() for file in small])
        started, used = time.perf_counter(), time.process_time()
        found = pairs(tests, source)
        seconds, used = time.perf_counter() - started, time.process_time() - used
        print(line(f"of {len(small)} of Tiny ImageNet", [pair.likeness for pair in found]))
        print(
            f"\n{len(small) / seconds:.0f} images of Tiny ImageNet per second against {len(files)} "
            f"test images; processor time {1e6 * used / len(small):.0f} µs an image"
        )
        own_duplicates(folder, small)


if __name__ == "__main__":
    main()
