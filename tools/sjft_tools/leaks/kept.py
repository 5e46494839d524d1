"""What an unfinished search for leaks keeps, so that the same command goes on from there."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence

import cv2

from sjft import __version__
from sjft.image_lmdb import ImageLmdb
from sjft_tools.atomic import refuse_outputs
from sjft_tools.leaks import images
from sjft_tools.leaks.images import OnBad
from sjft_tools.leaks.search import Pair, TestImages, find_pairs
from sjft_tools.work_folder import Kept, keeping

SHARD_BLOCKS = 16  # blocks of source images whose findings are kept together


@contextlib.contextmanager
def keeping_findings(
    outputs: Sequence[str], tests: ImageLmdb, source: ImageLmdb, threshold: float, force: bool
) -> Iterator[KeptFindings]:
    """Yield where findings are kept: beside the first of `outputs`; nowhere if there are none.

    Raises InputError if an output exists, unless `force` is set or it is there because a run of the
    same search was killed while it wrote its outputs; if another run works on them; or if nothing
    can be written there.
    """
    if not outputs:
        yield KeptFindings(None, outputs, source, threshold, force)
        return
    plan = {
        "test_fingerprint": tests.fingerprint,
        "source_fingerprint": source.fingerprint,
        "threshold": threshold,
        "shard": SHARD_BLOCKS * images.BLOCK,
        "versions": [__version__, cv2.__version__],  # who decodes, scales and correlates
    }
    with keeping(outputs[0], plan) as kept:
        yield KeptFindings(kept, outputs, source, threshold, force)


class KeptFindings:
    """The pairs that are found, kept for every shard of the source as ``000017.json``."""

    def __init__(
        self,
        kept: Kept | None,
        outputs: Sequence[str],
        source: ImageLmdb,
        threshold: float,
        force: bool,
    ) -> None:
        self._kept = kept
        self._outputs = [os.path.abspath(path) for path in outputs]
        self._source = source
        self._threshold = threshold
        self._force = force
        self._refuse_existing()

    def find_pairs(self, tests: TestImages, on_bad: OnBad) -> list[Pair]:
        """Return all pairs of search.find_pairs; only shards that are not kept are searched."""
        pairs: list[Pair] = []
        shards = 0
        while (content := self._load(shards)) is not None:
            shard = json.loads(content)
            pairs += (Pair(*pair) for pair in shard["pairs"])
            for position, sentence in shard["bad"]:
                on_bad(position, sentence)
            shards += 1
        fresh: list[Pair] = []
        bad: list[tuple[int, str]] = []

        def note(position: int, sentence: str) -> None:
            bad.append((position, sentence))
            on_bad(position, sentence)

        start = shards * SHARD_BLOCKS * images.BLOCK
        blocks = find_pairs(tests, self._source, self._threshold, note, start)
        for number, found in enumerate(blocks, 1):
            fresh += found
            if number % SHARD_BLOCKS == 0:
                self._save(shards, {"pairs": fresh, "bad": bad})
                pairs += fresh
                shards += 1
                fresh, bad[:] = [], []
        return pairs + fresh

    def begin_writing(self) -> None:
        """Note that the outputs are written now: a run after a kill may find some of them."""
        self._refuse_existing()
        if self._kept is not None:
            self._kept.begin_writing(self._outputs)

    def _refuse_existing(self) -> None:
        begun = self._kept.written if self._kept is not None else []
        refuse_outputs((path for path in self._outputs if path not in begun), self._force)

    def _load(self, shard: int) -> bytes | None:
        return self._kept.load(f"{shard:06}.json") if self._kept is not None else None

    def _save(self, shard: int, content: object) -> None:
        if self._kept is not None:
            self._kept.save(f"{shard:06}.json", json.dumps(content).encode())
