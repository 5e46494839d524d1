"""Which generated files stand in the folder prototxt/."""

from __future__ import annotations

from dataclasses import replace

from sjft_tools.nets.backbones import BACKBONES, DEFAULT
from sjft_tools.nets.demo import DEMO, demo_files
from sjft_tools.nets.experiments import experiments_files
from sjft_tools.nets.flowers17 import FLOWERS17, flowers17_files
from sjft_tools.nets.target_set import TargetSet, own_files

FOLDER = "prototxt"


def published_files(folder: str = FOLDER) -> dict[str, str]:
    """All files below prototxt/: relative name -> text.

    The solvers name their nets below `folder`, as seen from where Caffe is started.
    """
    folders = {
        **{
            f"nets/{net}": own_files(TargetSet(folder=f"{folder}/nets/{net}", net=net))
            for net in BACKBONES
            if net != DEFAULT
        },
        "demo": demo_files(replace(DEMO, folder=f"{folder}/demo")),
        "flowers17": flowers17_files(replace(FLOWERS17, folder=f"{folder}/flowers17")),
    }
    return {
        **own_files(TargetSet(folder=folder)),
        **experiments_files(folder),
        **{
            f"{below}/{name}": text
            for below, files in folders.items()
            for name, text in files.items()
        },
    }
