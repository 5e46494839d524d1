"""The memory that ``sjft retrieve`` announces, beside what it takes."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from conftest import draw_image, run_sjft, write_image_lmdb
from drawn_banks import random_weights, save_npz
from processes import SJFT

MIB = 1 << 20


def peak_of(folder: Path, *arguments: object) -> tuple[float, str]:
    """Run ``sjft`` in two threads; return the most MiB that no file backs, and its output."""
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [*SJFT, *map(str, arguments)],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "2"},
        )
        status = Path(f"/proc/{process.pid}/status")
        peak = 0
        while process.poll() is None:
            found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text())
            peak = max(peak, int(found[1]) << 10) if found else peak
            time.sleep(0.002)
    printed = (folder / "log").read_text()
    assert process.returncode == 0, printed
    return peak / MIB, printed


@pytest.mark.parametrize(
    ("bank", "backend", "resize"),
    [("gabor", "numpy", 64), ("alexnet", "torch", 224)],
)
def test_the_line_before_the_start(tmp_path: Path, bank: str, backend: str, resize: int) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    for name, count, seed in (("target", 3, 0), ("source", 60, 100)):
        images = [draw_image(seed + i, resize, resize) for i in range(count)]
        write_image_lmdb(tmp_path / name, images, [0] * count)
    options = ["--backend", backend]
    if bank == "alexnet":
        options += ["--weights", save_npz(tmp_path / "w.npz", random_weights())]
    fit = ("fit-bins", "target", "bins.npz", "--bank", bank, "--bins", 20, "--resize", resize)
    run_sjft(*fit, *options, cwd=tmp_path)
    inputs = ("target", "source", "out", "--bins-file", "bins.npz", "--k", 3)
    command = ("retrieve", *inputs, *options, "--product", "numpy", "--force")
    peak = 0.0
    for _ in range(5):
        found, printed = peak_of(tmp_path, *command)
        peak = max(peak, found)
        said = re.search(r"memory: some (\d+) MiB \((.*)\)", printed)
        assert said
        if int(said[1]) < 2.5 * peak:
            break  # or this process slept when that one took most
    parts = [float(size) for size in re.findall(r" (\d+)(?:,|$)", said[2])]
    assert len(parts) == 6 and abs(sum(parts) - int(said[1])) <= 3
    # What is announced is an upper bound for most of it: a block of sources is not full here.
    print(f"said {said[1]} MiB, took {peak:.0f}")
    assert 0.6 * peak < int(said[1]) < 2.5 * peak, said[0]
