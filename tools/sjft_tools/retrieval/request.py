"""What the user asks of a retrieval."""

from __future__ import annotations

from dataclasses import dataclass

from sjft_tools.retrieval.inputs import Paths


@dataclass(frozen=True)
class Request:
    """The options of `sjft retrieve` say what each one is."""

    paths: Paths
    output: str
    work: str
    k: int
    shard_size: int | None
    part: tuple[int, int] | None
    """Part i, from 1, of n."""
    workers: int | None
    scheduler: str | None
    product: str
    most_bad: int
    force: bool

    @property
    def has_team(self) -> bool:
        """Whether processes other than the one that is asked do the shards."""
        return self.workers is not None or self.scheduler is not None
