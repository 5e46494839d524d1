"""What benchmarks have found, in JSON, and on what machine."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sjft_tools.json_file import write_json
from sjft_tools.overlap import cores

OUT = Path("build/benchmarks")


def save(path: Path, content: dict[str, Any]) -> None:
    """Write figures, and the machine's, in place of earlier ones."""
    machine = {
        "cores": cores(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(str(path), {**content, **machine}, force=True)
