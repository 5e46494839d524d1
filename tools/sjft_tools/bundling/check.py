"""``./run check`` of a bundle: what it finds on the machine where it lies, and what is missing."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import os
import re
import sys
from pathlib import Path

from sjft_tools.bundling.stage import CUDA_LIST
from sjft_tools.checks.environment import check_environment
from sjft_tools.checks.gpu import check_gpu
from sjft_tools.checks.report import CheckFailed, Report


def main() -> int:
    """Make all checks; return the exit status, 1 if any failed."""
    report = Report()
    bundle = Path(os.environ["SJFT_BUNDLE"])
    report.ok(
        "bundle", f"{bundle}, Python {sys.version.split()[0]}, {os.confstr('CS_GNU_LIBC_VERSION')}"
    )
    report.check("OpenCV", opencv, "")
    names = (bundle / CUDA_LIST).read_text(encoding="utf-8").split()
    for name in names:
        report.check(name, functools.partial(loaded_from, name), "")
    if report.failures:
        report.skip("Caffe", "needs the above")
        return 1
    check_environment(report)
    if names:
        report.check("driver", driver, "")
        report.check("GPUs that may be used", visible_gpus, "")
    if names and not report.failures:
        check_gpu(report, 0)
    return 1 if report.failures else 0


def opencv() -> tuple[None, str]:
    """OpenCV can be imported."""
    try:
        # NumPy prints a page where a module was compiled for another version of it.
        with contextlib.redirect_stderr(io.StringIO()):
            import cv2
    except ImportError as error:
        raise CheckFailed(
            f"it cannot be imported ({error})",
            "name the Python that has the package opencv-python-headless, 4.10 or newer: "
            "HOST_PYTHON=PYTHON",
        ) from None
    return None, f"{cv2.__version__}, {cv2.__file__}"


def loaded_from(name: str) -> tuple[None, str]:
    """The library `name` can be loaded; the detail is the file that was found."""
    try:
        ctypes.CDLL(name)
    except OSError as error:
        raise CheckFailed(
            f"it cannot be loaded ({error})",
            "name its folder, CUDA_LIBS=DIR:DIR, or the Python whose PyTorch brought it, "
            "HOST_PYTHON=PYTHON",
        ) from None
    return None, _mapped(name)


def _mapped(name: str) -> str:
    """Return the file of the library `name`, which this process has loaded."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    return next(line.split(None, 5)[5] for line in maps.splitlines() if f"/{name}" in line)


def driver() -> tuple[None, str]:
    """NVIDIA's driver is there, of whatever version."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CheckFailed(
            f"this machine has no NVIDIA driver ({error})",
            "here Caffe computes on the CPU alone; make this check where there is a GPU: a "
            "cluster's login nodes have none",
        ) from None
    return None, _mapped("libcuda.so")


def visible_gpus() -> tuple[None, str]:
    """The environment hides not every GPU; batch systems name those of a job in it."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    # CUDA reads the list up to the first word that names no GPU.
    if value is not None and not re.match(r"\s*(\d|GPU-|MIG-)", value):
        raise CheckFailed(
            f"CUDA_VISIBLE_DEVICES='{value}' hides them all",
            "ask the batch system for a GPU, or unset the variable",
        )
    return None, "all" if value is None else f"CUDA_VISIBLE_DEVICES={value}"


if __name__ == "__main__":
    raise SystemExit(main())
