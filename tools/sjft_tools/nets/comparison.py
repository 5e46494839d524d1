"""Selective joint training beside its baseline: five files for one target set and one trunk.

Both have the same trunk, the same schedule and as many target images an iteration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sjft_tools.nets.deploy import target_deploy
from sjft_tools.nets.joint import Task, joint_train_val, target_only_train_val
from sjft_tools.nets.solver import Run, solver_text
from sjft_tools.nets.trunk import Trunk


@dataclass(frozen=True)
class Comparison:
    """What tells one comparison from another; `seed` draws the first weights and the batches."""

    task: Task
    name: str  # the nets' names start with it
    title: str  # as the files' comments say it
    test_images: int
    max_iter: int
    base_lr: float
    weight_decay: float
    origin: str  # where the schedule's numbers come from
    folder: str  # of the files, as seen from where Caffe is started
    snapshot_folder: str
    seed: int


def comparison_files(comparison: Comparison, trunk: Trunk) -> dict[str, str]:
    """The comparison's files: name below its folder -> text."""
    name, title = comparison.name, comparison.title
    task = replace(comparison.task, seed=comparison.seed)
    texts = {
        "joint_train_val.prototxt": joint_train_val(
            f"{name}_joint", f"{title}: selective joint training.", trunk, task
        ),
        "target_only_train_val.prototxt": target_only_train_val(
            f"{name}_target_only",
            f"{title}, its baseline: the same net trained on the target alone.",
            trunk,
            task,
        ),
        "deploy.prototxt": target_deploy(
            f"{name}_deploy", f"{title}: the net with the target's classifier.", trunk, task
        ),
    }
    batches = {"joint": task.batch_size, "target_only": task.half}
    for kind, batch_size in batches.items():
        run = solver_run(comparison, kind, batch_size)
        header = f"{title}: {kind.replace('_', '-')} training."
        texts[f"{kind}_solver.prototxt"] = solver_text(header, run)
    return texts


def solver_run(comparison: Comparison, kind: str, batch_size: int) -> Run:
    """The run of `kind` (joint or target_only): the same but for the net and its batches."""
    return Run(
        net=f"{comparison.folder}/{kind}_train_val.prototxt",
        snapshot_prefix=f"{comparison.snapshot_folder}/{kind}",
        batch_size=batch_size,
        origin=comparison.origin,
        base_lr=comparison.base_lr,
        weight_decay=comparison.weight_decay,
        step=comparison.max_iter * 2 // 3,
        max_iter=comparison.max_iter,
        test_batch_size=comparison.task.test_batch_size,
        test_images=comparison.test_images,
        test_interval=comparison.max_iter,
        snapshot=0,
        display=50,
        random_seed=comparison.seed,
    )
