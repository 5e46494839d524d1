"""On what a run was run: the versions of what it used and the machine, noted at every start."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import cv2
import lmdb
import numpy as np
from google import protobuf

from sjft import __version__
from sjft.cores import cores
from sjft_tools.checks.environment import caffe_version, find_caffe
from sjft_tools.checks.report import CheckFailed
from sjft_tools.experiment.step import FOLDER
from sjft_tools.json_file import read_json, write_json

_FILE = "starts.json"


class Start(NamedTuple):
    """One start of a run: when, ISO 8601 in UTC, and what there was, name -> words."""

    time: str
    environment: dict[str, str]


def note_start(folder: str) -> None:
    """Add this start to those of the run folder `folder`."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    starts = [*read_starts(folder), Start(now, _environment())]
    os.makedirs(os.path.join(folder, FOLDER), exist_ok=True)
    content = [start._asdict() for start in starts]
    write_json(os.path.join(folder, FOLDER, _FILE), content, force=True)


def read_starts(folder: str) -> list[Start]:
    """Return the starts of the run in `folder`, the first one first; none if none was noted."""
    try:
        content = read_json(Path(folder, FOLDER, _FILE))
        return [Start(each["time"], each["environment"]) for each in content]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def in_turn(environments: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return name -> what it was at all starts, "1.26, then 2.0" where it changed."""
    found: dict[str, list[str]] = {}
    for environment in environments:
        for name, words in environment.items():
            found.setdefault(name, []).append(words)
    return {name: ", then ".join(key for key, _ in groupby(all_)) for name, all_ in found.items()}


def _environment() -> dict[str, str]:
    return {
        "sjft": __version__,
        "Caffe": _caffe(),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "OpenCV": cv2.__version__,
        "lmdb": lmdb.__version__,
        "protobuf": str(getattr(protobuf, "__version__", "unknown")),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": str(cores()),
        "memory": _memory(),
        "GPU": _gpus(),
    }


def _caffe() -> str:
    try:
        return caffe_version(find_caffe()[0])[0]
    except CheckFailed:
        return "none"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return "unknown"
    return f"{total / 2**30:.0f} GiB"


def _gpus() -> str:
    command = shutil.which("nvidia-smi")
    if command is None:
        return "none"
    words = [command, "--query-gpu=name", "--format=csv,noheader"]
    try:
        output = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return "none"
    return ", ".join(output.stdout.splitlines()) or "none"
