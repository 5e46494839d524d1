"""From an ImageSet to an image LMDB, going on where a run before was stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from array import array

import numpy as np

from sjft.errors import InputError
from sjft_tools.atomic import OUTPUT
from sjft_tools.command import progress
from sjft_tools.conversion_state import LeftOut, is_same_plan, position_of, write_plan
from sjft_tools.image_files import Storage
from sjft_tools.image_lmdb_writer import side_in, write_image_side_files
from sjft_tools.image_sets import ImageSet
from sjft_tools.lmdb_writer import LmdbWriter
from sjft_tools.mapping import prepared_in_order

#: If not one of so many images can be read, the paths are wrong and not the images.
_HOPELESS = 100


def write_images(
    images: ImageSet, work: str, storage: Storage, skip_bad: bool, workers: int
) -> tuple[np.ndarray, int]:
    """Write the image LMDB OUTPUT in the folder `work`, from what an earlier run left there.

    Returns its labels, int32, and how many images were left out. The result depends neither on
    `workers` nor on where earlier runs were stopped. An image that cannot be read is named: in the
    InputError that it raises, or, if `skip_bad`, on standard error. Raises InputError as well if
    none can be read.
    """
    output = os.path.join(work, OUTPUT)
    left_out = LeftOut(work)
    if not is_same_plan(work, images, storage) or (left_out.positions and not skip_bad):
        if is_begun(work):
            print("what is there is of another conversion: starting afresh", file=sys.stderr)
        shutil.rmtree(output, ignore_errors=True)
        left_out.cut(0)
        write_plan(work, images, storage)
    os.makedirs(output, exist_ok=True)
    with contextlib.closing(LmdbWriter(output, resumable=True)) as writer:
        try:
            sides = _append(images, writer, left_out, storage, skip_bad, workers)
        except BaseException:
            if writer.committed:
                kept = f"{writer.committed} images are kept: the same command goes on from there"
                print(kept, file=sys.stderr)
            raise
        info = {"left_out": len(left_out.positions), **writer.finish()}
    used = np.ones(len(images.entries), bool)
    used[left_out.positions] = False
    labels = np.array([entry.label for entry in images.entries], np.int32)[used]
    if len(labels) != info["count"]:
        raise RuntimeError(f"{info['count']} records were written for {len(labels)} images")
    write_image_side_files(output, info, labels, images.class_names, np.array(sides, np.int32))
    return labels, len(left_out.positions)


def _append(
    images: ImageSet,
    writer: LmdbWriter,
    left_out: LeftOut,
    storage: Storage,
    skip_bad: bool,
    workers: int,
) -> array[int]:
    """Append the records that `writer` lacks, and note in `left_out` the images that have none.

    Returns the shorter sides of all images in the LMDB, in pixels.
    """
    entries = images.entries
    sides = array("i")
    if writer.committed:
        for value in progress(writer.take_in(), "read what is there", total=writer.committed):
            sides.append(side_in(value))
    start = position_of(writer.count, left_out.positions)
    left_out.cut(start)
    prepared = prepared_in_order(entries[start:], storage, workers)
    bar = progress(prepared, "convert", total=len(entries), initial=start)
    with contextlib.closing(prepared):
        for position, record in enumerate(bar, start):
            if not record.problem:
                writer.add(record.value)
                sides.append(side_in(record.value))
                continue
            if not skip_bad:
                raise InputError(record.problem)
            left_out.add(position)
            bar.write(f"left out: {record.problem}", file=sys.stderr)
            if writer.count == 0 and len(left_out.positions) == min(_HOPELESS, len(entries)):
                raise InputError(
                    f"none of the first {len(left_out.positions)} images can be read, the last "
                    f"because {record.problem}"
                )
    return sides


def is_begun(work: str) -> bool:
    """Return whether a conversion that stopped in the folder `work` left anything to go on from."""
    output = os.path.join(work, OUTPUT)
    if not os.path.exists(os.path.join(output, "data.mdb")):
        return False
    with contextlib.closing(LmdbWriter(output)) as writer:
        return writer.committed > 0
