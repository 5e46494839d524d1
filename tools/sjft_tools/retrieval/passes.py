"""Passes over the source, shard by shard, and what follows the last of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sjft_tools.command import progress
from sjft_tools.retrieval import finish
from sjft_tools.retrieval.bad_sources import BadSources
from sjft_tools.retrieval.engine import Engine
from sjft_tools.retrieval.inputs import Inputs
from sjft_tools.retrieval.plan import Plan, parts_of
from sjft_tools.retrieval.prepared import Prepared
from sjft_tools.retrieval.request import Request
from sjft_tools.retrieval.shard_files import Pass, ShardFiles
from sjft_tools.retrieval.work_folder import RetrievalFolder
from sjft_tools.work_folder import default_work

if TYPE_CHECKING:
    from sjft_tools.retrieval.team import Team


def written(output: str, plan: Plan) -> str:
    """Return the sentence that ends a retrieval."""
    return f"{output}: {plan.k} neighbours for each of {plan.targets} images"


@dataclass
class Run:
    """A retrieval whose inputs are open, whose folder is held and whose targets are described.

    `team`: the processes that do the shards; None: this process does.
    """

    request: Request
    folder: RetrievalFolder
    inputs: Inputs
    plan: Plan
    engine: Engine
    prepared: Prepared
    team: Team | None
    _bad: BadSources = field(init=False)

    def __post_init__(self) -> None:
        self._bad = BadSources(self.request.most_bad)

    def whole(self) -> str:
        """Do all that is left, write the output, remove the folder; return a sentence about it."""
        first = self.prepared.first_pass()
        self._do(first, range(self.plan.shards))
        path, plan = self.folder.path, self.plan
        found = finish.neighbours(
            path, self.inputs, plan, first, lambda again: self._do(again, range(plan.shards))
        )
        bad = finish.bad_images(ShardFiles(path, plan, first))
        finish.write(self.request.output, self.inputs, plan, found, bad, self.request.force)
        self.folder.remove()
        unused = f"; {bad} source images cannot be decoded and are nobody's" if bad else ""
        return written(self.request.output, plan) + unused

    def part(self, part: int, parts: int) -> str:
        """Do the shards of one part; return a sentence about what is left.

        Raises InputError if another run is doing the same part.
        """
        shards, first = self.plan.shards, self.prepared.first_pass()
        with self.folder.claim(f"part-{part}-of-{parts}"):
            self._do(first, parts_of(shards, part, parts))
        left = shards - len(ShardFiles(self.folder.path, self.plan, first).done())
        output, work = self.request.output, self.request.work
        where = "" if work == default_work(output) else f" --work {work}"
        ending = (
            f"{left} of all {shards} shards are left"
            if left
            else f"all {shards} shards are there: 'sjft merge {output}{where}' joins them"
        )
        return f"{self.folder.path}: part {part} of {parts} is done; {ending}"

    def _do(self, of: Pass, shards: Iterable[int]) -> None:
        """Do those of `shards` that are not done yet."""
        files = ShardFiles(self.folder.path, self.plan, of)
        done = files.done()
        for stats in done.values():
            self._bad.known(stats.bad)
        sizes = {shard: self.inputs.taking_part(*self.plan.span(shard)) for shard in shards}
        todo = [shard for shard in sizes if shard not in done]
        before = sum(size for shard, size in sizes.items() if shard in done)
        if todo and len(todo) < len(sizes):
            there = len(sizes) - len(todo)
            print(f"goes on: {there} of {len(sizes)} shards are done", file=sys.stderr)
        what = "sources" if of.name == "shard" else f"sources again for {len(of.rows)} targets"
        with progress((), what, sum(sizes.values()), initial=before) as bar:
            if self.team is not None:
                self.team.compute(self.prepared, of, todo, files, self._bad, bar.update)
                return
            for shard in todo:
                candidates, stats = self.engine.shard(
                    shard, of, self.prepared.targets, self._bad.add, bar.update
                )
                files.write(shard, candidates, stats)
