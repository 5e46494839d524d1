"""What is noted of a net's pass in little room: some values of every blob and gradient.

So a pass by one build of Caffe can be compared with that of another one, on another machine.
"""

from __future__ import annotations

import hashlib
from typing import Any

import lockstep
import numpy as np

_SAMPLES = 64
_INPUTS = "inputs"

Summary = dict[str, np.ndarray]


def of(net: Any) -> Summary:
    """Return values at places that are the same for every net of the same shapes."""
    found = {_INPUTS: _checksum(net)}
    for name, blob in net.blobs.items():
        found[f"values/{name}"] = _samples(blob.data)
        found[f"diffs/{name}"] = _samples(blob.diff)
    for name, blobs in net.params.items():
        for number, blob in enumerate(blobs):
            found[f"gradients/{name}/{number}"] = _samples(blob.diff)
    return found


def save(path: str, summary: Summary) -> None:
    """Write the .npz file `path`."""
    np.savez_compressed(path, **summary)


def load(path: str) -> Summary:
    """Read what save() wrote."""
    with np.load(path) as file:
        return dict(file)


def errors(found: Summary, expected: Summary) -> dict[str, float]:
    """Return the relative error of values, diffs and gradients; of each kind that of the worst.

    Raises SystemExit if weights or inputs were not the same.
    """
    if found.keys() != expected.keys() or (found[_INPUTS] != expected[_INPUTS]).any():
        raise SystemExit("the reference is of another net, batch, weights or images")
    made: dict[str, float] = {}
    for kind in ("values", "diffs", "gradients"):
        names = [name for name in expected if name.startswith(f"{kind}/")]
        each = [lockstep.relative_error(found[name], expected[name]) for name in names]
        made[f"{kind}, median"], made[f"{kind}, greatest"] = float(np.median(each)), max(each)
    return made


def _samples(values: np.ndarray) -> np.ndarray:
    flat = values.ravel()
    places = np.random.default_rng(flat.size).integers(flat.size, size=min(_SAMPLES, flat.size))
    return flat[places].copy()


def _checksum(net: Any) -> np.ndarray:
    digest = hashlib.sha256(net.blobs["data"].data.tobytes())
    for name, blobs in net.params.items():
        if name.startswith(("conv", "res", "fc")):
            digest.update(blobs[0].data.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)
