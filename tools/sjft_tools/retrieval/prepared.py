"""What is computed once, before the pass over the source: target descriptors and limits."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np

from sjft.errors import InputError
from sjft_tools.checksums import array_checksum
from sjft_tools.json_file import read_json
from sjft_tools.npz import npy_bytes
from sjft_tools.retrieval.engine import Engine
from sjft_tools.retrieval.plan import Plan
from sjft_tools.retrieval.shard_files import Pass
from sjft_tools.work_folder import WorkFolder, put_file

TARGETS_FILE = "targets.npy"
LIMITS_FILE = "limits.npy"
_ABOUT_FILE = "prepared.json"

#: Targets that every run and worker describes to show that it computes what all others compute.
SAMPLE = 4
#: What is wrong if it does not.
OTHERWISE = (
    "expected the same versions of numpy, OpenCV and the bank's backend, on processors of the same "
    "kind"
)


class Prepared(NamedTuple):
    """`targets`: T x dimensions counts; `limits`: float64 (T,); `checksum` of the targets."""

    targets: np.ndarray
    limits: np.ndarray
    checksum: str

    def first_pass(self) -> Pass:
        """Return the pass over the source for all targets."""
        return Pass("shard", np.arange(len(self.targets)), self.limits)


def prepare(folder: WorkFolder, plan: Plan, engine: Engine) -> Prepared:
    """Return what is prepared in `folder`, or prepare it now and store it.

    Raises BadImageError if a target image cannot be decoded.
    """
    there = stored(folder, plan)
    if there is not None:
        return there
    targets = engine.describe_targets()
    prepared = Prepared(targets, engine.limits(targets), array_checksum(targets))
    for name, array in ((TARGETS_FILE, targets), (LIMITS_FILE, prepared.limits)):
        put_file(folder.file(name), npy_bytes(array))
    about = {
        "plan": plan.identity(),
        "targets": prepared.checksum,
        "limits": array_checksum(prepared.limits),
    }
    put_file(folder.file(_ABOUT_FILE), (json.dumps(about, indent=2) + "\n").encode())
    return prepared


def check_alike(prepared: Prepared, path: str, engine: Engine) -> None:
    """Raise InputError if `engine` describes targets otherwise than they are in the folder `path`.

    Its shards would not fit those of other machines, or of an earlier run.
    """
    sample = engine.describe_targets(np.arange(min(SAMPLE, len(prepared.targets))), quiet=True)
    if not np.array_equal(sample, prepared.targets[:SAMPLE]):
        raise InputError(
            f"this process computes other descriptors than the run that began {path}: {OTHERWISE}, "
            f"or another --work"
        )


def read_array(path: str, checksum: str) -> np.ndarray | None:
    """Return the array of the file `path`; None unless it is there and has the `checksum`."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array_checksum(array) == checksum else None


def stored(folder: WorkFolder, plan: Plan) -> Prepared | None:
    """Return what is prepared in `folder` for `plan`; None if it is not there, or damaged."""
    try:
        about = read_json(folder.file(_ABOUT_FILE))
        if about["plan"] != plan.identity():
            return None
        checksums = about["targets"], about["limits"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    targets = read_array(folder.file(TARGETS_FILE), checksums[0])
    limits = read_array(folder.file(LIMITS_FILE), checksums[1])
    if targets is None or limits is None:
        return None
    return Prepared(targets, limits, checksums[0])
