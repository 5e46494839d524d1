"""Writing a neighbour LMDB: one record per target image, under the target image's key."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from sjft import __version__
from sjft.image_lmdb import ImageLmdb
from sjft.messages import Datum
from sjft.record_lmdb import KEYS_FILE
from sjft.side_file import NEIGHBOURS, write_side_file
from sjft_tools.lmdb_writer import new_lmdb, save_array


def write_neighbours(
    path: str,
    target: ImageLmdb,
    source: ImageLmdb,
    indices: np.ndarray,
    distances: np.ndarray,
    info: dict[str, Any],
    force: bool = False,
) -> None:
    """Write the neighbour LMDB `path`, bound to `target` and `source` by their fingerprints.

    Their paths are recorded too, as a hint for tools that show neighbours; they may have moved.

    `indices`: T x K int64, positions in the source's key order, nearest first; `distances`: T x K
    float32; `info`: what the side file records of how they were found (bank, bins, checksums).
    Raises InputError if `path` exists and `force` is not set.
    """
    count, k = indices.shape
    if count != target.count or distances.shape != indices.shape:
        raise ValueError(f"{indices.shape}, {distances.shape} do not fit {target.count} targets")
    with new_lmdb(path, force, NEIGHBOURS) as (folder, writer):
        for i in range(count):
            datum = Datum(
                channels=k,
                height=1,
                width=8,
                data=np.ascontiguousarray(indices[i], "<i8").tobytes(),
                label=int(target.labels[i]),
                float_data=distances[i].astype(np.float32).tolist(),
            )
            writer.add(datum.SerializeToString(), target.key(i))
        counts = writer.finish()
        if target.info["key_format"] is None:
            keys = np.array([target.key(i) for i in range(count)])
            save_array(os.path.join(folder, KEYS_FILE), keys)
        content = {
            "format": NEIGHBOURS,
            **counts,
            "key_format": target.info["key_format"],
            "k": k,
            "target_path": target.path,
            "source_path": source.path,
            "target_fingerprint": target.fingerprint,
            "source_fingerprint": source.fingerprint,
            **info,
            "written_by": f"sjft {__version__}",
        }
        write_side_file(folder, content)
