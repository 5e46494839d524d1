"""``caffe train`` as a process, what it started, and what it left behind."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path


def caffe_train(folder: Path) -> subprocess.Popen:
    """Start ``caffe train`` on the solver.prototxt in `folder`; its log is one pipe."""
    return subprocess.Popen(
        ["caffe", "train", "-solver", "solver.prototxt"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "GLOG_minloglevel": "0"},
    )


def children(pid: int) -> list[int]:
    """The processes that `pid` started, and those that these started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    own = [int(child) for child in text.split()]
    return own + [grandchild for child in own for grandchild in children(child)]


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def shared_memory() -> set[str]:
    """The names in shared memory."""
    return set(os.listdir("/dev/shm"))


def stays_in_shared_memory(before: set[str]) -> set[str]:
    """The names that are not among those `before` and stay for a second: others come and go."""
    new = shared_memory() - before
    if new:
        time.sleep(1)
    return new & shared_memory()
