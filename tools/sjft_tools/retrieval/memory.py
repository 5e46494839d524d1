"""How much memory a retrieval takes, said before it starts."""

from __future__ import annotations

import re

from sjft_tools.matching.products import Product
from sjft_tools.overlap import cores
from sjft_tools.retrieval.inputs import Inputs
from sjft_tools.retrieval.plan import Plan

_CANDIDATE_BYTES = 20
# A thread's maps in the filter bank as a multiple of the responses of its batch: measured are 2
# (Gabor by numpy) to 5 (by torch), AlexNet by torch 3.6.
_MAPS = 4
_MIB = 1 << 20


def memory_text(inputs: Inputs, plan: Plan, product: Product, is_one_of_many: bool = False) -> str:
    """Return a line on the memory of one process, which has opened its inputs and its libraries.

    A GPU's own memory does not count. `is_one_of_many`: workers that it starts take as much each.
    """
    dimensions = inputs.bins.edges.size
    layers = inputs.bank.layers
    count_bytes = 2 if max(layer.pixels for layer in layers) < 65536 else 4
    responses = 4 * inputs.bank.batch * sum(layer.channels * layer.pixels for layer in layers)
    # first, for it starts CUDA where the product is a GPU's
    matching = product.host_memory(plan.targets, plan.shard_size, dimensions, count_bytes)
    parts = {
        "this process so far": _own_bytes(),
        f"the filter bank in {cores()} threads": _MAPS * responses * cores(),
        "the targets' descriptors": plan.targets * dimensions * count_bytes,
        **matching,
        # while they are sorted, of a large shard or of all shards when they are joined
        "candidates": 4 * _CANDIDATE_BYTES * 2 * plan.targets * plan.k,
    }
    listed = ", ".join(f"{name} {size / _MIB:.0f}" for name, size in parts.items())
    whose = " of each process" if is_one_of_many else ""
    return f"memory{whose}: some {sum(parts.values()) / _MIB:.0f} MiB ({listed})"


def _own_bytes() -> int:
    """Return what memory the process has that no file backs; 0 where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii") as stream:
            found = re.search(r"RssAnon:\s+(\d+) kB", stream.read())
    except OSError:
        return 0
    return int(found[1]) << 10 if found else 0
