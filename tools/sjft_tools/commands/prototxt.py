"""Write nets and solvers for a target set of one's own, or bring the published ones up to date.

Any option about the net or the target set asks for files of one's own, in an --out-dir: train_val
and solver of joint training and of its baseline on the target alone, and three deploy nets, with
the target's head, with both, and fully convolutional. Without options the published files under
prototxt/ are written anew; --check only compares.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from sjft.errors import InputError
from sjft_tools.command import add_force, integer_at_least
from sjft_tools.nets.backbones import BACKBONES
from sjft_tools.nets.files import output_folder, state, write
from sjft_tools.nets.joint import DataPaths
from sjft_tools.nets.options import (
    add_data_options,
    add_training_options,
    data_paths,
    schedule_of,
)
from sjft_tools.nets.published import FOLDER, published_files
from sjft_tools.nets.target_set import AUTHORS, TASK, TargetSet, own_files

PATHS = DataPaths()
# Options about a target set, with the published nets' values; most have the layers' own names.
TARGET_SET_OPTIONS: dict[str, Any] = {
    "net": TargetSet().net,
    "frozen_statistics": TargetSet().frozen,
    "target_classes": TASK.target_classes,
    "source_classes": TASK.source_classes,
    "test_images": TargetSet().test_images,
    "k0": TASK.k0,
    "batch_size": TASK.batch_size,
    "iter_size": AUTHORS.iter_size,
    "max_iter": AUTHORS.max_iter,
    "stepsize": None,  # follows from max_iter
    "target": PATHS.target,
    "target_test": PATHS.target_test,
    "source": PATHS.source,
    "neighbours": PATHS.neighbours,
}
ORIGIN = (
    "Numbers of your own; the paper's sets take 9,000 to 20,000 iterations, with the rate\n"
    "divided by 10 every 2,400 to 5,000."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    published = TARGET_SET_OPTIONS
    count = integer_at_least(1)

    def add(name: str, **keywords: Any) -> None:
        parser.add_argument(name, default=published[name[2:].replace("-", "_")], **keywords)

    parser.add_argument("--out-dir", default=FOLDER, metavar="DIR", help="folder of the files")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    add("--net", choices=sorted(BACKBONES), help="the backbone")
    add("--target-classes", type=count, metavar="N", help="classes of the target set")
    add("--source-classes", type=count, metavar="M", help="classes of the source set")
    add("--test-images", type=count, metavar="T", help="images of the target's test set")
    add_training_options(parser, AUTHORS)
    add_data_options(parser, PATHS)
    add_force(parser)


def run(args: argparse.Namespace) -> None:
    """Write or compare the files; raises InputError when one differs."""
    folder = Path(output_folder(args.out_dir, "--out-dir"))
    files = wanted_files(args)
    if args.check:
        check(folder, files)
        print(f"{len(files)} files in {folder} are as generated")
    else:
        write(folder, files, args.force)


def wanted_files(args: argparse.Namespace) -> dict[str, str]:
    """The files that the options ask for: name below --out-dir -> text."""
    own = [name for name, value in TARGET_SET_OPTIONS.items() if getattr(args, name) != value]
    folder = str(Path(args.out_dir))
    if not own:
        return published_files(folder)
    if folder == FOLDER:
        option = "--" + own[0].replace("_", "-")
        value = AUTHORS.step if own[0] == "stepsize" else TARGET_SET_OPTIONS[own[0]]
        raise InputError(
            f"{option} is not the published nets' ({value}), and {FOLDER} holds those: give "
            "--out-dir, a folder for nets of your own"
        )
    return own_files(own_target_set(args, folder))


def own_target_set(args: argparse.Namespace, folder: str) -> TargetSet:
    """The target set that the options describe; snapshots go beside the nets."""
    task = replace(
        TASK,
        target_classes=args.target_classes,
        source_classes=args.source_classes,
        batch_size=args.batch_size,
        k0=args.k0,
        paths=data_paths(args),
    )
    return TargetSet(
        task,
        args.test_images,
        folder,
        snapshot_folder=folder,
        schedule=schedule_of(args, AUTHORS, ORIGIN),
        net=args.net,
        frozen=args.frozen_statistics,
    )


_NAMED = 10  # files that differ


def check(folder: Path, files: dict[str, str]) -> None:
    """Raise InputError unless `folder` holds exactly `files`, as far as .prototxt files go."""
    states = {name: state(folder / name, text) for name, text in files.items()}
    wrong = [f"{name} {state}" for name, state in states.items() if state != "unchanged"]
    there = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.prototxt"))
    wrong += [f"{name} is not generated" for name in there if name not in files]
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise InputError(
            f"{folder} is not as generated ({', '.join(wrong[:_NAMED])}{more}): run sjft prototxt "
            "--force, and change nets in sjft_tools.nets only"
        )
