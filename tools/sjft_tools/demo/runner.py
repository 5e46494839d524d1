"""The demo from end to end: images, `sjft run`, what it is compared with, the comparison."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import cv2

from sjft.errors import InputError
from sjft_tools.demo import folders, report, trainings
from sjft_tools.demo.settings import Place, Settings, experiment_file, place, read_committed
from sjft_tools.experiment.outcome import SUMMARY
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.run_lock import LOCK, run_lock
from sjft_tools.experiment.runner import REPORT
from sjft_tools.experiment.settings import read_experiment
from sjft_tools.experiment.step import Step
from sjft_tools.experiment.steps import Steps
from sjft_tools.json_file import read_json, write_json

MARK = "made_by_sjft_demo"


def run_demo(settings: Settings) -> None:
    """Run everything that is not done; all files lie in `settings.out`.

    Raises InputError if the folder holds files of others, or a command fails.
    """
    started = time.monotonic()
    read_committed()
    claim(settings.out)
    with run_lock(str(settings.out)) as lock:
        if settings.force:
            empty(settings.out)
        first = place(settings, 0)
        count = folders.write_source(first.source_images, settings.glyphs, settings.seed)
        images = f"{count} images, one half glyphs, the other textures"
        print(f"source: {images}, in {first.source_images}")
        results = []
        for number in range(settings.seeds):
            if settings.seeds > 1:
                seed = settings.seed + number
                print(f"\n== seed {seed}, {number + 1} of {settings.seeds} ==")
            results.append(_run_seed(settings, number, lock))
        _report(settings, results, time.monotonic() - started)
    print(f"report: {first.run / REPORT}")


def claim(out: Path) -> None:
    """Mark `out` as the demo's. Raises InputError if it holds what the demo did not make."""
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise InputError(
            f"the folder {out} holds files that the demo did not make: name another one by --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def empty(out: Path) -> None:
    """Remove from `out`, which is the demo's, what an earlier demo left."""
    for path in out.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (MARK, LOCK):
            path.unlink()


def _run_seed(settings: Settings, number: int, lock: int) -> report.SeedResult:
    """Choose target images, train in every way and evaluate."""
    where, seed = place(settings, number), settings.seed + number
    train, test = where.target_train_images, where.target_test_images
    counts = folders.write_target(train, test, settings.per_class, seed)
    print(f"target: {counts[0]} digits to train on, {counts[1]} to test on, in {train.parent}")
    experiment = experiment_file(settings, number)
    steps = Steps(str(where.folder), lock, "the same 'sjft demo'")
    steps.run(_selective_joint(experiment, where))
    plan = Plan(read_experiment(experiment), str(where.run))
    accuracy = _others(settings, plan, where, steps)
    neighbours = plan.file("neighbors_lmdb")
    share = report.glyph_share(neighbours, plan.lmdb("source"), plan.experiment.net["k0"])
    print(f"glyphs among the nearest neighbours of each digit: {100 * share:.1f} %")
    summary = read_json(where.run / SUMMARY)
    rounds = [each["top1"] for each in summary["rounds"]]
    return report.SeedResult(seed, share, rounds, accuracy)


def _selective_joint(experiment: str, where: Place) -> Step:
    outputs = [str(where.run / name) for name in (SUMMARY, REPORT)]
    words = ["sjft", "run", experiment, "--out", str(where.run)]
    return Step("run", words, [experiment, *where.images], outputs)


def _others(settings: Settings, plan: Plan, where: Place, steps: Steps) -> dict[str, float]:
    """Train in the other ways; return the top-1 accuracy, 0..1, of each."""
    compared = [trainings.target_only(plan, str(where.folder / "target_only"))]
    if settings.with_random:
        random_joint = trainings.random_joint(plan, str(where.folder / "random_joint"))
        Path(random_joint.folder).mkdir(exist_ok=True)
        steps.run(trainings.draw_neighbours(plan, random_joint))
        compared.append(random_joint)
    if settings.seeds > 1:
        compared += trainings.unhardened(plan, str(where.folder / "unhardened"))
    accuracy = {}
    for training in compared:
        for step in trainings.steps(plan, training):
            steps.run(step)
        accuracy[training.name] = read_json(training.result)["top1"]
    return accuracy


def _report(settings: Settings, results: list[report.SeedResult], seconds: float) -> None:
    """Print the comparison and write the summary."""
    print(
        f"\nTop-1 accuracy on the test digits, {settings.per_class} training digits a class,"
        f" {settings.iterations} iterations alone and in round 1:\n\n{report.comparison(results)}"
    )
    if settings.seeds > 1:
        print(
            "\nThe later rounds beside as many iterations without hard samples:\n\n"
            f"{report.what_rounds_add(results)}"
        )
    content = {
        "settings": {**vars(settings), "out": str(settings.out)},
        "seeds": [vars(result) for result in results],
        "opencv": cv2.__version__,  # its fonts are the glyphs'
        "seconds": seconds,
    }
    path = settings.out / SUMMARY
    write_json(str(path), content, force=True)
    print(f"\nfigures: {path}; {seconds:.0f} s in all")
