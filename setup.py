"""Installs the layers (`sjft`), the offline commands (`sjft_tools`) and the command `sjft`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"$',
    (HERE / "python_layers/sjft/__init__.py").read_text(encoding="utf-8"),
    re.MULTILINE,
).group(1)

setup(
    name="sjft",
    version=VERSION,
    description="Selective joint fine-tuning as Python layers and offline commands for Caffe",
    license="BSD-2-Clause",
    python_requires=">=3.9",
    package_dir={"sjft": "python_layers/sjft", "sjft_tools": "tools/sjft_tools"},
    packages=find_packages("python_layers") + find_packages("tools"),
    entry_points={"console_scripts": ["sjft = sjft_tools.cli:main"]},
    install_requires=[
        "numpy>=1.19",
        "protobuf>=3.12",
        # Not opencv-python: its wheel opens windows and asks for libGL, which a server has not.
        "opencv-python-headless>=4.5",
        "lmdb>=0.98",
        "tqdm>=4.57",
    ],
    extras_require={
        # what pycaffe itself imports
        "caffe": ["scikit-image", "scipy", "six", "pydot"],
        "gallery": ["matplotlib"],
        # the .mat files of published data sets, for sjft convert
        "mat": ["scipy"],
        # compiled kernels for sjft retrieve; numpy does the same, far slower
        "numba": ["numba>=0.56"],
        # another engine for the AlexNet bank and for matching, on the CPU or a GPU
        "torch": ["torch>=2.1"],
        # the kernels of sjft retrieve on a GPU, for a torch of CUDA 13
        "gpu": ["torch>=2.1", "numba-cuda[cu13]"],
        # sjft run
        "run": ["pyyaml", "matplotlib"],
        # sjft retrieve on a cluster
        "dask": ["distributed>=2023.5"],
        # sjft demo
        "demo": ["scikit-learn", "pyyaml", "matplotlib"],
        # The tests, besides caffe and demo. One torch for all who test: its wheels for Linux bring
        # CUDA along, some 3 GB.
        "dev": [
            *("pytest", "ruff", "mypy", "hypothesis", "numba", "torch==2.13.0", "distributed"),
            *("pyyaml", "scipy", "matplotlib"),
        ],
    },
)
