"""Which generated files stand in the folder prototxt/."""

from __future__ import annotations

from sjft_tools.nets.demo import Demo, demo_files
from sjft_tools.nets.flowers17 import Flowers17, flowers17_files
from sjft_tools.nets.resnet152 import Experiment, experiment_files

FOLDER = "prototxt"


def published_files(folder: str = FOLDER) -> dict[str, str]:
    """All files below prototxt/: relative name -> text.

    The solvers name their nets below `folder`, as seen from where Caffe is started.
    """
    folders = {
        "demo": demo_files(Demo(folder=f"{folder}/demo")),
        "flowers17": flowers17_files(Flowers17(folder=f"{folder}/flowers17")),
    }
    return {
        **experiment_files(Experiment(folder=folder)),
        **{
            f"{below}/{name}": text
            for below, files in folders.items()
            for name, text in files.items()
        },
    }
