"""``sjft run`` killed at 20 random moments: it ends in the bytes of an undisturbed run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from conftest import REPO

KILLS = 20
SEED = 4
MOST_LINES = 9
MOST_SECONDS = 1.0
PATIENCE_S = 600
# What must not depend on kills, to the byte.
RESULTS = ["bins.npz", "neighbors_lmdb/data.mdb", "neighbors_lmdb/sjft.json", "summary.json"]
RESULTS += [f"round_{i}/{name}" for i in (1, 2, 3) for name in ("test.npz", "test.json")]
HARDENED = ("training.npz", "levels.json", "moves.json")
RESULTS += [f"round_{i}/{name}" for i in (1, 2) for name in HARDENED]


def run(folder: Path, draw: random.Random | None) -> bool:
    """Run until the end, or, with `draw`, kill it after a few lines of its steps and a while.

    Returns whether it was killed. How many lines it had printed does not depend on the machine.
    """
    command = [sys.executable, "-m", "sjft_tools.cli", "run"]
    command += [str(folder.parent / "experiment.yaml"), "--out", str(folder)]
    process = subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    lines: list[bytes] = []
    wanted = draw.randint(1, MOST_LINES) if draw else sys.maxsize
    assert process.stdout is not None
    for line in process.stdout:
        if lines or line.startswith(b"$ sjft"):
            lines.append(line)
        if len(lines) == wanted:
            break
    if draw is not None:
        time.sleep(draw.uniform(0, MOST_SECONDS))
        process.kill()  # unless it has ended
    rest = process.stdout.read()
    status = process.wait()
    watchdog.cancel()
    is_killed = draw is not None and status == -signal.SIGKILL
    assert is_killed or status == 0, b"".join(lines) + rest
    return is_killed


def test_killed_at_random_moments_it_ends_in_the_same_bytes(
    undisturbed: tuple[Path, str],
) -> None:
    expected, _ = undisturbed
    # paths are part of what is written: the killed run has those of the undisturbed one
    aside = expected.with_name("aside")
    os.rename(expected, aside)
    draw = random.Random(SEED)
    kills = 0
    try:
        while True:
            if run(expected, draw if kills < KILLS else None):
                kills += 1
                continue
            for name in RESULTS:
                assert (expected / name).read_bytes() == (aside / name).read_bytes(), name
            if kills >= KILLS:
                break
            shutil.rmtree(expected)  # it came to its end before it was killed often enough
    finally:
        shutil.rmtree(expected, ignore_errors=True)
        os.rename(aside, expected)
