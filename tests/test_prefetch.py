"""Worker processes: batches in order, from anywhere; their memory; nothing left behind."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from data_faults import Numbers, exists, params, take, workers_of
from joint_world import World, make_world
from processes import shared_memory, stays_in_shared_memory
from sjft.batches import JointBatches
from sjft.errors import InputError
from sjft.layer_params import PrefetchParams, parse_joint_data
from sjft.prefetch import open_stream
from sjft.ring import Ring, affordable_depth, batch_bytes
from whole_batches import batch_of


@pytest.mark.parametrize("workers, depth", [(0, 4), (1, 1), (1, 4), (2, 3), (3, 8), (5, 2)])
def test_batches_come_in_order(opened: list, workers: int, depth: int) -> None:
    batches = Numbers()
    opened.append(open_stream(batches, params(workers, depth), first=11))
    for number in range(11, 60):
        out = take(opened[0], batches)
        assert (out["data"] == number).all()
        assert (out["labels"] == -number).all()


def test_tops_that_are_not_wanted_are_left_out(opened: list) -> None:
    opened.append(open_stream(Numbers(), params(2)))
    data = np.zeros((3, 1000), np.float32)
    opened[0].next_into({"data": data})
    opened[0].next_into({"data": data})
    assert (data == 1).all()


def test_a_stream_goes_on_elsewhere(opened: list) -> None:
    for workers in (0, 3):
        batches = Numbers()
        opened.append(open_stream(batches, params(workers, 5)))
        stream = opened[-1]
        for first in (7, 0, 1000, 3, 3):
            stream.start_at(first)
            for number in range(first, first + 8):
                assert (take(stream, batches)["data"] == number).all()


def test_closing_leaves_no_process_and_no_shared_memory() -> None:
    before = shared_memory()
    stream = open_stream(Numbers(), params(3))
    workers = workers_of(stream)
    assert not stays_in_shared_memory(before)
    stream.close()
    assert not any(map(exists, workers))
    stream.close()
    stream = open_stream(Numbers(), params(2))
    workers = workers_of(stream)
    del stream
    assert not any(map(exists, workers))


def test_forking_after_opencv_used_its_threads(opened: list, tmp_path: Path) -> None:
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5)
        world: World = make_world(tmp_path)
        batches = JointBatches(parse_joint_data(world.param_str(crop=400, resize=420)))
        opened.append(open_stream(batches, PrefetchParams(2, 2, 1 << 28, 20)))
        for number in range(4):
            expected = batch_of(batches, number)
            for name, top in take(opened[0], batches).items():
                np.testing.assert_array_equal(top, expected[name])
    finally:
        cv2.setNumThreads(threads)


def test_memory_stays_within_its_bound() -> None:
    tops = {"data": (18, 3, 224, 224), "labels": (9,)}
    each = batch_bytes(tops)
    assert each == 18 * 3 * 224 * 224 * 4 + 64
    assert affordable_depth(tops, 100, 512 << 20) == (512 << 20) // each
    assert affordable_depth(tops, 4, 512 << 20) == 4
    with pytest.raises(InputError) as error:
        affordable_depth(tops, 4, 10 << 20)
    assert "one batch takes 11 MiB of memory, more than 'prefetch_mb' 10" in str(error.value)
    assert batch_bytes(tops, pixels=["data"]) == 18 * 3 * 224 * 224 + 64
    assert affordable_depth(tops, 4, 10 << 20, pixels=["data"]) == 3
    with pytest.raises(InputError, match="one batch takes"):
        affordable_depth({"data": (10**9, 3, 10**9, 10**9)}, 4, 512 << 20)


def test_slots_of_the_ring_do_not_overlap() -> None:
    ring = Ring({"a": (3, 5), "b": (7,)}, 3, pixels=["a"])
    assert {name: array.dtype for name, array in ring.slot(0).items()} == {
        "a": np.uint8,
        "b": np.float32,
    }
    for batch in range(3):
        for name in ("a", "b"):
            ring.slot(batch)[name][...] = batch
    for batch in range(3):
        assert all((ring.slot(batch + 3)[name] == batch).all() for name in ("a", "b"))
        assert all(array.ctypes.data % 64 == 0 for array in ring.slot(batch).values())
