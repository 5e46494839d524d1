"""How much memory a retrieval takes, said before it starts."""

from __future__ import annotations

from sjft_tools.matching.matcher import SOURCE_BLOCK
from sjft_tools.retrieval.inputs import Inputs
from sjft_tools.retrieval.plan import Plan

_CANDIDATE_BYTES = 20
_MIB = 1 << 20


def memory_text(inputs: Inputs, plan: Plan) -> str:
    """Return a line on the memory of one process, the filter bank's own apart."""
    dimensions = inputs.bins.edges.size
    pixels = max(layer.pixels for layer in inputs.bank.layers)
    counts = dimensions * (2 if pixels < 65536 else 4)
    operand = 2 * 4 * dimensions
    parts = {
        "the targets' descriptors": plan.targets * counts,
        "their operands": plan.targets * operand,
        f"a block of {SOURCE_BLOCK} sources": SOURCE_BLOCK * (2 * counts + operand),
        # while they are sorted; the shards hold no more between them than a merge does
        "candidates": 4 * _CANDIDATE_BYTES * 2 * plan.targets * min(plan.k, plan.shard_size),
    }
    listed = ", ".join(f"{name} {size / _MIB:.0f}" for name, size in parts.items())
    return f"memory: some {sum(parts.values()) / _MIB:.0f} MiB beside the filter bank ({listed})"
