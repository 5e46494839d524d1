"""The work of one process: target descriptors, limits, and one shard after the other."""

from __future__ import annotations

import time
from typing import Any, Callable

import numpy as np

from sjft_tools.describe import Describer
from sjft_tools.distance import Distance
from sjft_tools.histogram import Histogrammer
from sjft_tools.matching.candidates import Candidates
from sjft_tools.matching.limits import limits, sample_positions
from sjft_tools.matching.matcher import Matcher, blocks, match_all
from sjft_tools.matching.products import SOURCE_BLOCK, make_product
from sjft_tools.retrieval.inputs import Inputs
from sjft_tools.retrieval.plan import Plan
from sjft_tools.retrieval.shard_files import Pass, Stats

#: Takes in how many source images have been dealt with since it was called last.
Advance = Callable[[int], Any]
#: Takes in the sentence that names an image which cannot be decoded.
OnBad = Callable[[str], Any]


class Engine:
    """Describes images and matches them, by what `plan` and `inputs` say.

    Nothing is kept from one shard to the next but the targets' operands.
    """

    def __init__(self, inputs: Inputs, plan: Plan, product: str) -> None:
        """`product`: the matrix product for matching, as make_product takes it."""
        self._inputs = inputs
        self._plan = plan
        self.product = make_product(product)
        self._describer = Describer(inputs.bank, Histogrammer(inputs.bins))
        self._matcher: tuple[str, Matcher] | None = None
        self.distance = Distance(inputs.bank.layers, inputs.bins.edges.shape[1])

    def describe_targets(
        self, positions: np.ndarray | None = None, quiet: bool = False
    ) -> np.ndarray:
        """Return the descriptors of all targets, or of those at `positions`: T x dimensions counts.

        Shows a progress bar unless `quiet`. Raises BadImageError naming an image that cannot be
        decoded.
        """
        bar = (lambda number: None) if quiet else None
        found = self._describer.stream(self._inputs.target, positions, "targets", bar=bar)
        return np.concatenate([some.counts for some in found])

    def limits(self, targets: np.ndarray) -> np.ndarray:
        """Return how far each target's nearest sources can be: float64 (T,), see matching.limits.

        `targets`: the counts of all targets.
        """
        inputs, k = self._inputs, self._plan.k
        ranks = sample_positions(inputs.usable, k, self._plan.seed)
        if not len(ranks):
            return np.full(len(targets), np.inf)
        # The rank among the sources that take part, and the excluded ones before it.
        before = inputs.excluded - np.arange(len(inputs.excluded))
        positions = ranks + np.searchsorted(before, ranks, side="right")
        found = self._describer.stream(
            inputs.source, positions, "a sample of the sources", lambda position, sentence: None
        )
        sample = (counts for _, counts in blocks(found, SOURCE_BLOCK))
        return limits(self.distance, targets, sample, len(ranks), inputs.usable, k, self.product)

    def shard(
        self, shard: int, of: Pass, targets: np.ndarray, on_bad: OnBad, advance: Advance
    ) -> tuple[Candidates, Stats]:
        """Return what of a shard may be among the targets' nearest, and what was done for it.

        `targets`: the counts of all targets. An image that cannot be decoded is left out.
        """
        started = time.perf_counter()
        start, stop = self._plan.span(shard)
        positions = self._inputs.positions(start, stop)
        bad: list[str] = []

        def note(position: int, sentence: str) -> None:
            bad.append(sentence)
            on_bad(sentence)

        stream = self._describer.stream(self._inputs.source, positions, "sources", note, advance)
        found = match_all(self._matcher_of(of, targets), stream, len(of.rows), self._plan.k)
        rows = of.rows.astype(np.int32)[found.targets]
        seconds = time.perf_counter() - started
        stats = Stats(
            images=len(positions) - len(bad),
            excluded=stop - start - len(positions),
            bad=bad,
            candidates=len(rows),
            seconds=round(seconds, 3),
            images_per_second=round(len(positions) / seconds, 3),
        )
        return found._replace(targets=rows), stats

    def _matcher_of(self, of: Pass, targets: np.ndarray) -> Matcher:
        """Return a matcher with the limits of a pass, which are tightened in every shard anew."""
        if self._matcher is None or self._matcher[0] != of.identity(self._plan):
            self._matcher = None  # before the next one is made, for it is large
            some = targets if len(of.rows) == len(targets) else targets[of.rows]
            matcher = Matcher(self.distance, some, of.limits, self.product)
            self._matcher = (of.identity(self._plan), matcher)
        self._matcher[1].renew(of.limits)
        return self._matcher[1]
