"""The demo from end to end: images, data bases, neighbours, training, comparison."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sjft.image_lmdb import ImageLmdb
from sjft.randomness import random_bits
from sjft_tools.atomic import new_file
from sjft_tools.demo import folders, report
from sjft_tools.demo.steps import run
from sjft_tools.demo.training import RANDOM, SELECTIVE, TARGET_ONLY, Way, plan
from sjft_tools.demo.workspace import Workspace, make_room, refuse_foreign
from sjft_tools.neighbour_lmdb_writer import write_neighbours
from sjft_tools.nets.demo import TASK, Demo


@dataclass(frozen=True)
class Settings:
    """What the user chose; the options of `sjft demo` say what each one is."""

    data: Path
    out: Path
    seed: int
    seeds: int
    iterations: int
    per_class: int
    glyphs: int
    k: int
    with_random: bool
    force: bool

    @property
    def ways(self) -> list[Way]:
        """What is compared."""
        return [TARGET_ONLY, SELECTIVE, *([RANDOM] if self.with_random else [])]


def run_demo(settings: Settings) -> None:
    """Run everything; leaves data bases in `settings.data`, the rest in `settings.out`.

    Raises InputError if a data base is in the way, or a command fails.
    """
    started = time.monotonic()
    works = [_workspace(settings, number) for number in range(settings.seeds)]
    refuse_foreign(works[0], settings.force)
    for work in works:
        make_room(work)
    first = works[0]
    images = first.file("images", "source")
    count = folders.write_source(images, settings.glyphs, settings.seed)
    print(f"source: {count} images, one half glyphs, the other textures, in {images}")
    convert(images, first.paths.source, first.log("convert_source"))
    results = []
    for number, work in enumerate(works):
        if settings.seeds > 1:
            print(f"\n== seed {settings.seed + number}, {number + 1} of {settings.seeds} ==")
        results.append(_run_seed(settings, settings.seed + number, work))
    _report(settings, first, results, time.monotonic() - started)


def _workspace(settings: Settings, number: int) -> Workspace:
    """Return where a seed's files lie: the first one's at the top, the others' below `out`."""
    source = settings.data / "source_lmdb"
    if number == 0:
        return Workspace(settings.data, settings.out, source)
    out = settings.out / f"seed_{settings.seed + number}"
    return Workspace(out / "data", out, source)


def _run_seed(settings: Settings, seed: int, work: Workspace) -> report.SeedResult:
    """Choose target images, find their neighbours, train each way and evaluate."""
    train_images, test_images = (
        work.file("images", "target_train"),
        work.file("images", "target_test"),
    )
    counts = folders.write_target(train_images, test_images, settings.per_class, seed)
    print(f"target: {counts[0]} digits to train on, {counts[1]} to test on")
    convert(train_images, work.paths.target, work.log("convert_target_train"))
    convert(test_images, work.paths.target_test, work.log("convert_target_test"))
    _find_neighbours(settings.k, work)
    share = report.glyph_share(work.paths.neighbours, work.paths.source, TASK.k0)
    print(f"glyphs among the {TASK.k0} nearest neighbours of each digit: {100 * share:.1f} %")
    if settings.with_random:
        write_random_neighbours(work, settings.k, seed)
    demo = Demo(test_images=counts[1], max_iter=settings.iterations, seed=seed)
    seconds, accuracy = {}, {}
    for way in settings.ways:
        seconds[way.name], accuracy[way.name] = _train(way, work, demo)
    return report.SeedResult(seed, share, accuracy, seconds)


def convert(images: Path, lmdb: str, log: Path) -> None:
    """Run `sjft convert folder`."""
    run(["sjft", "convert", "folder", str(images), lmdb, "--force"], log)


def _find_neighbours(k: int, work: Workspace) -> None:
    """Fit the bins, retrieve, draw the gallery."""
    paths, bins, gallery = work.paths, str(work.file("bins.npz")), str(work.file("gallery.png"))
    fit = ["sjft", "fit-bins", paths.target, bins, "--bank", "gabor", "--force"]
    run(fit, work.log("fit_bins"))
    retrieve = ["sjft", "retrieve", paths.target, paths.source, paths.neighbours]
    run([*retrieve, "--bins-file", bins, "--k", str(k)], work.log("retrieve"))
    run(["sjft", "gallery", paths.neighbours, gallery, "--force"], work.log("gallery"))


def write_random_neighbours(work: Workspace, k: int, seed: int) -> None:
    """Write, for the control, `k` source images drawn at random for every target image."""
    target, source = ImageLmdb(work.paths.target), ImageLmdb(work.paths.source)
    words = [
        random_bits(seed, "demo random neighbours", i, size=source.count)
        for i in range(target.count)
    ]
    indices = np.argsort(np.stack(words), axis=1, kind="stable")[:, :k]
    distances = np.zeros(indices.shape, np.float32)
    info = {"bank": "random"}
    write_neighbours(work.random_neighbours, target, source, indices, distances, info, force=True)


def _train(way: Way, work: Workspace, demo: Demo) -> tuple[float, float]:
    """Train one way and evaluate it; return the training's seconds and the top-1 accuracy, 0..1."""
    files = plan(way, work, demo)
    train = ["caffe", "train", "-solver", str(files.solver)]
    # On maps as small as the demo's, BLAS threads cost more than they gain.
    seconds = run(train, work.log(f"train_{way.name}"), demo.max_iter, OPENBLAS_NUM_THREADS="1")
    scores = work.file(f"{way.name}_scores.json")
    evaluate = ["sjft", "evaluate", str(files.deploy), str(files.weights), work.paths.target_test]
    for key, pixels in demo.task.test_resize.items():
        evaluate += [f"--{key.replace('_', '-')}", str(pixels)]
    run([*evaluate, "--json", str(scores), "--force"], work.log(f"evaluate_{way.name}"))
    return seconds, json.loads(scores.read_text(encoding="utf-8"))["top1"]


def _report(
    settings: Settings, work: Workspace, results: list[report.SeedResult], seconds: float
) -> None:
    """Print the comparison and write the summary."""
    titles = {way.name: way.title for way in settings.ways}
    print(
        f"\nTop-1 accuracy on the test digits after {settings.iterations} iterations on"
        f" {settings.per_class} training digits a class:\n\n{report.table(results, titles)}"
    )
    content = {
        "settings": {name: _plain(value) for name, value in vars(settings).items()},
        **report.summary(results, titles),
        "opencv": cv2.__version__,  # its fonts are the glyphs'
        "seconds": seconds,
    }
    path = work.file("summary.json")
    with new_file(str(path), force=True) as partial:
        Path(partial).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(
        f"\nThe gallery, the logs and summary.json are in {settings.out}; {seconds:.0f} s in all."
    )


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
