"""Neighbours of a few targets against a literal reading of the distance, in float64 by torch."""

from __future__ import annotations

import numpy as np
import torch
from descriptor_stream import DescriptorStream
from step import Settings

from sjft_tools.distance import EPS, Distance
from sjft_tools.matching.candidates import Candidates


def verify(
    stream: DescriptorStream,
    distance: Distance,
    found: Candidates,
    far: np.ndarray,
    done: int,
    settings: Settings,
) -> int:
    """Return how many of a few targets have other neighbours than a literal reading gives them."""
    chosen = np.linspace(0, len(far) - 1, settings["verified"]).astype(int)
    all_distances = np.concatenate(
        [
            literal(stream, distance, chosen, start // settings["block"])
            for start in range(0, done, settings["block"])
        ]
    )[:done]
    differing = 0
    for column, target in enumerate(chosen):
        own = all_distances[:, column]
        here = found.targets == target
        sources, distances = found.sources[here], found.distances[here]
        margin = 1e-9 * (1 + distances.max())
        expected = min(settings["k"], int((own <= far[target] - margin).sum()))
        last = distances.max() if len(distances) >= settings["k"] else far[target]
        outside = np.ones(done, bool)
        outside[sources] = False
        right = (
            len(np.unique(sources)) == len(sources) >= expected
            and np.abs(own[sources] - distances).max() <= margin
            and not (outside & (own < last - margin)).any()
            and (np.diff(distances) >= 0).all()
        )
        differing += not right
    return differing


def literal(
    stream: DescriptorStream, distance: Distance, targets: np.ndarray, number: int
) -> np.ndarray:
    """Return the distances of a block's sources from some targets, as the method writes them."""
    counts = stream.on_device(number)
    total = torch.zeros((len(counts), len(targets)), dtype=torch.float64, device=counts.device)
    for layer in distance.layers:
        pixels = len(layer.share) - 1
        q = counts[:, layer.start : layer.stop].double() / pixels
        log_q = torch.log(q + EPS)
        for column, target in enumerate(targets):
            own = stream.targets[target, layer.start : layer.stop] / pixels
            p = torch.from_numpy(own).to(counts.device)
            terms = (p - q) * (torch.log(p + EPS) - log_q)
            total[:, column] += layer.factor * terms.sum(dim=1)
    return total.cpu().numpy()
