"""Installs the layers (`sjft`), the offline commands (`sjft_tools`) and the command `sjft`."""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"$',
    (HERE / "python_layers/sjft/__init__.py").read_text(encoding="utf-8"),
    re.MULTILINE,
).group(1)


def packages(top: str, root: str) -> list:
    """Names of the package `top` under the folder `root` and of all packages inside it."""
    folders = sorted(path.parent for path in (HERE / root / top).rglob("__init__.py"))
    return [".".join(folder.relative_to(HERE / root).parts) for folder in folders]


setup(
    name="sjft",
    version=VERSION,
    description="Selective joint fine-tuning as Python layers and offline commands for Caffe",
    license="BSD-2-Clause",
    python_requires=">=3.9",
    package_dir={"sjft": "python_layers/sjft", "sjft_tools": "tools/sjft_tools"},
    packages=packages("sjft", "python_layers") + packages("sjft_tools", "tools"),
    entry_points={"console_scripts": ["sjft = sjft_tools.cli:main"]},
    install_requires=[
        "numpy>=1.19",
        "protobuf>=3.12",
        # Not opencv-python: its wheel opens windows and asks for libGL, which a server has not.
        "opencv-python-headless>=4.5",
        "lmdb>=0.98",
        "tqdm",
    ],
    extras_require={
        # what pycaffe itself imports
        "caffe": ["scikit-image", "scipy", "six", "pydot"],
        "demo": ["scikit-learn", "matplotlib"],
        "dev": ["pytest", "ruff", "mypy", "hypothesis"],
    },
)
