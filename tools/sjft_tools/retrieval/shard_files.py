"""A shard's files in the work folder: its candidates, then its stats, which vouch for them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from typing import Any, NamedTuple

import numpy as np

from sjft_tools.checksums import array_checksum, checksum_of
from sjft_tools.json_file import read_json
from sjft_tools.matching.candidates import Candidates
from sjft_tools.retrieval.plan import Plan
from sjft_tools.work_folder import put_file

FORMAT = "sjft shard 1"
_COLUMNS = (("targets", np.int32), ("sources", np.int64), ("distances", np.float64))


class Pass(NamedTuple):
    """One pass over the source: for which targets, within which limits.

    `name`: how its files' names begin; `rows`: int64 (t,), positions among the targets, ascending;
    `limits`: float64 (t,), the distance beyond which no source can be among a target's nearest.
    """

    name: str
    rows: np.ndarray
    limits: np.ndarray

    def identity(self, plan: Plan) -> str:
        """Return ``sha256:...`` of all that decides what a shard of this pass holds."""
        parts = (plan.identity(), array_checksum(self.rows), array_checksum(self.limits))
        return checksum_of(*(part.encode() for part in parts))


class Stats(NamedTuple):
    """What a shard's stats file says of it; docs/formats.md has the same names."""

    images: int
    excluded: int
    bad: list[str]
    candidates: int
    seconds: float
    images_per_second: float


class ShardFiles:
    """The files of all shards of one pass, in the folder `path`."""

    def __init__(self, path: str, plan: Plan, of: Pass) -> None:
        self._path = path
        self._plan = plan
        self._name = of.name
        self._identity = of.identity(plan)

    def _file(self, shard: int, suffix: str) -> str:
        return os.path.join(self._path, f"{self._name}-{shard:05d}.{suffix}")

    def write(self, shard: int, candidates: Candidates, stats: Stats) -> None:
        """Write both files: each appears when it is complete, the stats last."""
        buffer = io.BytesIO()
        arrays = {name: getattr(candidates, name).astype(kind) for name, kind in _COLUMNS}
        np.savez(buffer, **arrays)
        content = buffer.getvalue()
        start, stop = self._plan.span(shard)
        about = {
            "format": FORMAT,
            "pass": self._identity,
            "shard": shard,
            "shards": self._plan.shards,
            "start": start,
            "stop": stop,
            **stats._asdict(),
            "checksum": checksum_of(content),
        }
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._file(shard, "json"))
        put_file(self._file(shard, "npz"), content)
        put_file(self._file(shard, "json"), (json.dumps(about, indent=2) + "\n").encode())

    def done(self) -> dict[int, Stats]:
        """Return the stats of all shards of this pass that are there and whole."""
        pattern = re.compile(rf"{self._name}-(\d+)\.json")
        found = {}
        for name in os.listdir(self._path):
            match = pattern.fullmatch(name)
            whole = self._whole(int(match[1])) if match else None
            if match and whole is not None:
                found[int(match[1])] = whole[0]
        return dict(sorted(found.items()))

    def read(self, shard: int) -> Candidates | None:
        """Return a shard's candidates; None if its files are missing, damaged or of another run."""
        whole = self._whole(shard)
        if whole is None:
            return None
        with np.load(io.BytesIO(whole[1]), allow_pickle=False) as stored:
            return Candidates(*(stored[name] for name, _ in _COLUMNS))

    def _whole(self, shard: int) -> tuple[Stats, bytes] | None:
        try:
            about: dict[str, Any] = read_json(self._file(shard, "json"))
            with open(self._file(shard, "npz"), "rb") as stream:
                content = stream.read()
            known = (about["format"], about["pass"], about["shard"], about["checksum"])
            stats = Stats(*(about[name] for name in Stats._fields))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if known != (FORMAT, self._identity, shard, checksum_of(content)):
            return None
        return stats, content
