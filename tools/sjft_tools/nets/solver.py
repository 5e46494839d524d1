"""Solvers: SGD as the paper uses it, with the reason for each number beside it."""

from __future__ import annotations

from dataclasses import dataclass

from sjft_tools.nets.text import Message, Word, settings_text

MODE = """\
CPU, so that the solver starts on every Caffe: one built without CUDA stops at GPU.
`caffe train -gpu 0` overrides it and trains on the first GPU."""


@dataclass(frozen=True)
class Run:
    """One training run on `net`, whose batches have the stated sizes; times are in iterations."""

    net: str
    snapshot_prefix: str
    batch_size: int
    test_batch_size: int
    test_images: int
    origin: str  # where the schedule's numbers come from, as a comment
    base_lr: float
    weight_decay: float
    step: int
    max_iter: int
    test_interval: int
    snapshot: int  # 0: only at the end
    display: int
    iter_size: int = 1
    random_seed: int = 1
    batch_statistics: bool = True  # whether BatchNorm uses those of each batch

    @property
    def test_iter(self) -> int:
        """Batches that hold all test images."""
        return -(-self.test_images // self.test_batch_size)


def solver_text(header: str, run: Run, command: str = "sjft prototxt") -> str:
    """The solver of `run`: momentum 0.9, learning rate divided by 10 every `step` iterations."""
    schedule: Message = {
        "type": "SGD",
        "base_lr": run.base_lr,
        "momentum": 0.9,
        "weight_decay": run.weight_decay,
        "lr_policy": "step",
        "gamma": 0.1,
        "stepsize": run.step,
        "max_iter": run.max_iter,
    }
    test: Message = {
        "test_iter": run.test_iter,
        "test_interval": run.test_interval,
        "test_initialization": False,
    }
    snapshots: Message = {"snapshot": run.snapshot} if run.snapshot else {}
    return settings_text(
        header,
        [
            ("Paths are seen from the folder in which Caffe is started.", {"net": run.net}),
            (_batch_comment(run), {"iter_size": run.iter_size}),
            (run.origin, schedule),
            (_test_comment(run), test),
            (
                "A line of the log shows the mean loss since the line before.",
                {"display": run.display, "average_loss": run.display},
            ),
            (
                "Snapshots' names begin with this; its folder must exist.",
                {**snapshots, "snapshot_prefix": run.snapshot_prefix},
            ),
            ("The first weights are drawn with this seed.", {"random_seed": run.random_seed}),
            (MODE, {"solver_mode": Word("CPU")}),
        ],
        command,
    )


def _batch_comment(run: Run) -> str:
    if run.iter_size == 1:
        return f"A step is taken on every batch of {run.batch_size} images."
    images = run.batch_size * run.iter_size
    comment = (
        f"A step is taken on the gradients of {run.iter_size} batches of {run.batch_size}: "
        f"{images} images."
    )
    if run.batch_statistics:
        comment += "\nBatchNorm's statistics are those of one batch all the same."
    return comment


def _test_comment(run: Run) -> str:
    return (
        f"{run.test_iter} batches of {run.test_batch_size} hold the {run.test_images} test images; "
        "another test set needs another test_iter."
    )
