"""Which generated files stand in the folder prototxt/."""

from __future__ import annotations

from sjft_tools.nets.demo import Demo, demo_files
from sjft_tools.nets.resnet152 import Experiment, experiment_files

FOLDER = "prototxt"


def published_files(folder: str = FOLDER) -> dict[str, str]:
    """All files below prototxt/: relative name -> text.

    The solvers name their nets below `folder`, as seen from where Caffe is started.
    """
    demo = demo_files(Demo(folder=f"{folder}/demo"))
    return {
        **experiment_files(Experiment(folder=folder)),
        **{f"demo/{name}": text for name, text in demo.items()},
    }
