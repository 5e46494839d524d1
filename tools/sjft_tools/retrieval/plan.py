"""The plan of a retrieval: everything that decides its result, and how the source is cut up."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

import numpy as np

from sjft import __version__
from sjft_tools.checksums import checksum_of
from sjft_tools.retrieval.inputs import Inputs

#: Source records per shard, unless the user asks for another number.
SHARD_SIZE = 8192
#: Of the random sample that limits are taken from. The neighbours do not depend on it.
SEED = 0

_NAMES = {
    "target_fingerprint": "target LMDB",
    "targets": "number of target images",
    "source_fingerprint": "source LMDB",
    "sources": "number of source images",
    "bins_checksum": "--bins-file",
    "weights_checksum": "--weights",
    "bank": "bank",
    "backend": "--backend",
    "k": "--k",
    "exclusions_checksum": "--exclude",
    "excluded": "number of excluded images",
    "shard_size": "--shard-size",
    "seed": "seed",
    "sjft_version": "version of sjft",
}


@dataclass(frozen=True)
class Plan:
    """What decides a retrieval's result and its shards; two runs with equal plans can share work.

    Shard i holds the source positions i * shard_size to (i + 1) * shard_size - 1.
    """

    target_fingerprint: str
    targets: int
    source_fingerprint: str
    sources: int
    bins_checksum: str
    weights_checksum: str
    bank: str
    backend: str
    k: int
    exclusions_checksum: str
    excluded: int
    shard_size: int
    seed: int = SEED
    sjft_version: str = __version__

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.sources // self.shard_size)

    def span(self, shard: int) -> tuple[int, int]:
        """Return the positions start, stop of a shard, from 0."""
        start = shard * self.shard_size
        return start, min(start + self.shard_size, self.sources)

    def identity(self) -> str:
        """Return ``sha256:...`` of all that the plan says."""
        text = json.dumps(asdict(self), sort_keys=True)
        return checksum_of(text.encode())

    def difference(self, other: Plan) -> str:
        """Return what `other` has different, as in ``--k (5, now 7)``; "" if nothing."""
        for field in fields(self):
            old, new = getattr(self, field.name), getattr(other, field.name)
            if old != new:
                plain = not str(old or new).startswith("sha256:")
                return _NAMES[field.name] + (f" ({old}, now {new})" if plain else "")
        return ""


def make_plan(inputs: Inputs, k: int, shard_size: int) -> Plan:
    """Return the plan of retrieving `k` neighbours."""
    return Plan(
        target_fingerprint=inputs.target.fingerprint,
        targets=inputs.target.count,
        source_fingerprint=inputs.source.fingerprint,
        sources=inputs.source.count,
        bins_checksum=inputs.bins.checksum(),
        weights_checksum=inputs.bank.weights_checksum,
        bank=inputs.bank.name,
        backend=inputs.bank.backend,
        k=k,
        exclusions_checksum=exclusions_checksum(inputs.excluded),
        excluded=len(inputs.excluded),
        shard_size=shard_size,
    )


def exclusions_checksum(excluded: np.ndarray) -> str:
    """Return ``sha256:...`` of the excluded positions as int64, little-endian; "" if none."""
    return checksum_of(excluded.astype("<i8").tobytes()) if len(excluded) else ""


def parts_of(shards: int, part: int, parts: int) -> range:
    """Return the shards, from 0, that part `part` (from 1) of `parts` is to do: every parts-th."""
    return range(part - 1, shards, parts)
