"""Ways of matching targets with a block of sources; each returns the pairs that it did."""

from __future__ import annotations

import importlib.util

import numpy as np
from drawn_descriptors import BINS, LAYERS
from turns import Way

from sjft_tools.distance import EPS

DIMENSIONS = [BINS * layer.channels for layer in LAYERS]
WEIGHTS = np.repeat([layer.weight / 2 for layer in LAYERS], DIMENSIONS)
PIXELS = np.repeat([layer.pixels for layer in LAYERS], DIMENSIONS)


def direct_float64(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the distances of one target, shares (n,), from sources, as the method writes them."""
    terms = (p - q) * (np.log(p + EPS) - np.log(q + EPS))
    return terms @ WEIGHTS


def others(targets: np.ndarray, sources: np.ndarray, k: int) -> dict[str, Way]:
    """Return the ways that are not sjft's. `k`: of how many neighbours a block holds its share."""
    p, q = (counts / PIXELS for counts in (targets, sources))
    p32, q32 = p.astype(np.float32), q.astype(np.float32)
    log_p, log_q = np.log(p + EPS).astype(np.float32), np.log(q + EPS).astype(np.float32)
    weights = WEIGHTS.astype(np.float32)
    left = np.hstack([weights * p32, weights * log_p])
    right = np.hstack([log_q, q32])
    own = ((WEIGHTS * q) * np.log(q + EPS)).sum(axis=1).astype(np.float32)
    del p, q

    def direct() -> int:
        distances = np.empty(len(q32), np.float32)
        for start in range(0, len(q32), 32):
            stop = start + 32
            terms = (p32[0] - q32[start:stop]) * (log_p[0] - log_q[start:stop])
            distances[start:stop] = terms @ weights
        np.argpartition(distances, k - 1)
        return len(q32)

    def numpy_product() -> int:
        return (right @ left.T).size

    found: dict[str, Way] = {
        "direct float32, numpy, logarithms given": direct,
        "float32 product alone, numpy": numpy_product,
    }
    if importlib.util.find_spec("scipy"):
        from scipy.spatial.distance import cdist

        n = len(weights)

        def pair(u: np.ndarray, v: np.ndarray) -> float:
            return float((u[:n] - v[:n]) @ (WEIGHTS * (u[n:] - v[n:])))

        few_p, few_q = np.hstack([p32[:2], log_p[:2]]), np.hstack([q32[:64], log_q[:64]])
        found["scipy's cdist, which calls a function"] = lambda: cdist(few_p, few_q, pair).size
    if importlib.util.find_spec("faiss"):
        import faiss

        queries = np.hstack([left, np.ones((len(left), 1), np.float32)])
        stored = np.hstack([right, -own[:, None]])

        def search() -> int:
            index = faiss.IndexFlatIP(stored.shape[1])
            index.add(stored)
            index.search(queries, k)
            return len(queries) * len(stored)

        found["faiss IndexFlatIP, transformed vectors"] = search
    if importlib.util.find_spec("torch"):
        import torch

        a, b = torch.from_numpy(right), torch.from_numpy(left)
        found["float32 product alone, torch"] = lambda: (a @ b.T).numel()
    return found
