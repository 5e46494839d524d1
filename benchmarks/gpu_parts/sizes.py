"""How large everything is: on a GPU, and in a rehearsal on the CPU."""

from __future__ import annotations

from typing import Any

Sizes = dict[str, dict[str, Any]]

#: "files": None for all in which a test needs a GPU; "net": one of nets.NETS; seconds are those of
#: each single measurement.
FULL: Sizes = {
    "tests": {"files": None},
    "net": {"net": "resnet152", "batch": 18},
    "layers": {"iterations": 50, "resume_iterations": 20, "records": [400, 800]},
    "training": {
        "net": "resnet152",
        "batch": 18,
        "seconds": 4,
        "rounds": 2,
        "records": [600, 1200],
        "side": 256,
        "choices": 6,
        "most_mib": None,
    },
    "times": {
        "net": "resnet152",
        "batch": 18,
        "iterations": 20,
        "product_side": 8192,
        "copied_mib": 2048,
    },
    "matching": {
        "targets": 5360,
        "sources": 1_281_167,
        "k": 5000,
        "pool": 8192,
        "layers": [["conv1", 96, 2916], ["conv2", 256, 676]],
        "block": 4096,
        "verified": 3,
        "authors": [1024, 512],
    },
    "describing": {"images": 2048, "distinct": 128, "checked": 8},
}

REHEARSAL: Sizes = {
    "tests": {"files": None},
    "net": {"net": "demo", "batch": 4},
    "layers": {"iterations": 6, "resume_iterations": 4, "records": [40, 80]},
    "training": {
        "net": "demo",
        "batch": 4,
        "seconds": 0.2,
        "rounds": 1,
        "records": [20, 40],
        "side": 40,
        "choices": 1,
        "most_mib": 20,
    },
    "times": {
        "net": "demo",
        "batch": 4,
        "iterations": 2,
        "product_side": 256,
        "copied_mib": 8,
    },
    "matching": {
        "targets": 12,
        "sources": 3000,
        "k": 20,
        "pool": 256,
        "layers": [["conv1", 3, 400], ["conv2", 4, 90]],
        "block": 256,
        "verified": 2,
        "authors": [3, 2],
    },
    "describing": {"images": 12, "distinct": 4, "checked": 2},
}
