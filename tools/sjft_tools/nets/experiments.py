"""The paper's four target sets: class counts, K_0, schedules, and the files of each.

K_0 is the paper's (Ge & Yu 2017): Stanford Dogs 100, Oxford Flowers 300, Caltech 256 50 to 100, MIT
Indoor 67 100. Iterations and steps lie in the ranges that the paper gives for all its sets; which
set takes which is our choice, but for MIT Indoor 67, whose schedule the authors published.
"""

from __future__ import annotations

from dataclasses import replace

from sjft_tools.nets.joint import DataPaths
from sjft_tools.nets.target_set import AUTHORS, TASK, Schedule, TargetSet, target_set_files

#: kind of file -> its name in an experiment's folder
NAMES = {
    kind: f"{kind}.prototxt"
    for kind in (
        *("joint_train_val", "target_only_train_val", "deploy", "deploy_dense"),
        *("joint_solver", "target_only_solver"),
    )
}

IMAGENET, PLACES = 1000, 205  # classes


def schedule(step: int, max_iter: int) -> Schedule:
    """A schedule in the paper's ranges."""
    origin = (
        "The paper gives 9,000 to 20,000 iterations for its sets, with the rate divided by 10\n"
        "every 2,400 to 5,000; these two numbers are our choice among them."
    )
    return Schedule(step, max_iter, origin, test_interval=1000)


def paths(data: str, source: str = "data/imagenet/train_lmdb", suffix: str = "") -> DataPaths:
    """The data bases of a set whose own lie in the folder `data`."""
    return DataPaths(
        target=f"{data}/train_lmdb",
        target_test=f"{data}/test_lmdb",
        source=source,
        neighbours=f"{data}/neighbors{suffix}_lmdb",
    )


def target_set(
    name: str,
    title: str,
    target_classes: int,
    test_images: int,
    k0: int,
    run: Schedule,
    data: DataPaths | None = None,
    source_classes: int = IMAGENET,
) -> TargetSet:
    """The set `name`: its data lie in data/`name`, and so do its snapshots."""
    folder = f"data/{name}"
    task = replace(
        TASK,
        target_classes=target_classes,
        source_classes=source_classes,
        k0=k0,
        paths=data or paths(folder),
    )
    return TargetSet(task, test_images, f"prototxt/{name}", folder, title, run)


STANFORD_DOGS = target_set(
    "stanford_dogs", "Stanford Dogs", 120, 8580, k0=100, run=schedule(4000, 16000)
)
FLOWERS102 = target_set(
    "flowers102", "Oxford Flowers 102", 102, 6149, k0=300, run=schedule(3000, 9000)
)
#: 60 training images a class; the test set is the rest of the 256 classes.
CALTECH256 = target_set(
    "caltech256",
    "Caltech 256, 60 images a class",
    *(256, 29780 - 256 * 60),
    k0=50,
    run=schedule(4000, 16000),
    data=paths("data/caltech256/60"),
)
MIT67 = target_set("mit67", "MIT Indoor 67", 67, 1340, k0=100, run=AUTHORS)

#: MIT Indoor 67's other sources: name -> title, classes. The third is both behind one another.
MIT67_SOURCES = {
    "places205": ("MIT Indoor 67, Places 205", PLACES),
    "hybrid": ("MIT Indoor 67, ImageNet and Places 205", IMAGENET + PLACES),
}


def experiments_files(folder: str) -> dict[str, str]:
    """All experiments' files: name below `folder` -> text."""
    files: dict[str, str] = {}
    for experiment in (STANFORD_DOGS, FLOWERS102, CALTECH256, MIT67):
        name = experiment.folder.rpartition("/")[2]
        files |= below(name, replace(experiment, folder=f"{folder}/{name}"), NAMES)
    joint = {kind: NAMES[kind] for kind in ("joint_train_val", "joint_solver")}
    for source, (title, classes) in MIT67_SOURCES.items():
        data = paths("data/mit67", f"data/{source}/train_lmdb", f"_{source}")
        variant = replace(
            MIT67,
            task=replace(MIT67.task, source_classes=classes, paths=data),
            title=title,
            folder=f"{folder}/mit67/{source}",
        )
        files |= below(f"mit67/{source}", variant, joint, f"joint_{source}")
    return files


def below(
    name: str, target_set: TargetSet, names: dict[str, str], snapshot: str = "joint"
) -> dict[str, str]:
    """The files of `target_set` that `names` asks for, by their names below the top folder."""
    files = target_set_files(target_set, names, (snapshot, "target_only"))
    return {f"{name}/{file}": text for file, text in files.items()}
