"""A small experiment of three rounds on digits; see the fixture `undisturbed` of conftest.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sjft_tools.demo import digits
from sjft_tools.demo.folders import write_class_folders, write_source


def draw_images(folder: Path) -> None:
    """Write the experiment's images into `folder`."""
    grey, labels = digits.load_images()
    for name, some in (("train", slice(0, 40)), ("test", slice(40, 160))):
        write_class_folders(folder / name, grey[some], labels[some], digits.CLASS_NAMES)
    write_source(folder / "source", 6, 1)


def experiment(images: Path) -> dict[str, Any]:
    """Return the content of the experiment's file; `images`: the folder that draw_images filled."""
    rounds = [{"max_iter": n, "base_lr": lr, "snapshot": 4} for n, lr in ((9, 0.05), (6, 0.02))]
    return {
        "name": "digits",
        "target_train": {"convert": f"folder '{images}/train'"},
        "target_test": {"convert": f"folder '{images}/test'"},
        "source": {"convert": f"folder '{images}/source'"},
        "bank": {"name": "gabor", "options": "--resize 16"},
        "neighbours": {"k": 60, "options": "--shard-size 128"},
        "net": {
            "solver": "prototxt/demo/joint_solver.prototxt",
            "deploy": "prototxt/demo/deploy.prototxt",
            "k0": 20,
        },
        "rounds": [*rounds, rounds[1]],
        "paper": {"selective joint": 88.1},
        "harden": "--resize 36",  # as the net's TEST phase does, and evaluation without it
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    """Write an experiment's file into `folder`; return its path."""
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
