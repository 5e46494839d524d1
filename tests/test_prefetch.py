"""Worker processes: order, bounds, and every fault caused for real."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from joint_world import World, make_world
from processes import shared_memory, stays_in_shared_memory, survivors
from sjft.batches import Batches, JointBatches
from sjft.errors import InputError
from sjft.layer_params import PrefetchParams, parse_joint_data
from sjft.prefetch import BatchStream, PrefetchedStream, open_stream
from sjft.ring import Ring, affordable_depth, batch_bytes
from sjft.worker_handle import WorkerError


class Numbers(Batches):
    """Batches that say their own number; `trouble` happens in the process that computes `at`."""

    def __init__(self, trouble: str = "", at: int = -1) -> None:
        self.tops = {"data": (3, 1000), "labels": (5,)}
        self._trouble = trouble
        self._at = at

    def fill(self, batch: int, out: Mapping[str, np.ndarray]) -> list[str]:
        if batch == self._at:
            if self._trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif self._trouble == "crash":
                ctypes.string_at(0)
            elif self._trouble == "hang":
                time.sleep(1000)
            elif self._trouble == "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            elif self._trouble == "input":
                raise InputError("image 7 of some_lmdb cannot be decoded")
            elif self._trouble == "bug":
                raise ZeroDivisionError("deep down")
        out["data"][...] = batch
        out["labels"][...] = -batch
        return []


def params(workers: int, depth: int = 4, timeout_s: float = 20) -> PrefetchParams:
    return PrefetchParams(workers, depth, 1 << 20, timeout_s)


@pytest.fixture
def opened() -> Iterator[list[BatchStream]]:
    """Streams put in here are closed after the test."""
    streams: list[BatchStream] = []
    yield streams
    for stream in streams:
        stream.close()


def take(stream: BatchStream, batches: Batches) -> dict[str, np.ndarray]:
    out = {name: np.full(shape, np.nan, np.float32) for name, shape in batches.tops.items()}
    stream.next_into(out)
    return out


def pids(stream: BatchStream) -> list[int]:
    assert isinstance(stream, PrefetchedStream)
    return [worker._pid for worker in stream._workers]


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_for_end(processes: list[int]) -> None:
    deadline = time.monotonic() + 5
    while any(map(exists, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(exists, processes))


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


def test_a_killed_worker_is_replaced_and_no_batch_is_lost(
    opened: list, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    world = make_world(tmp_path)
    batches = JointBatches(parse_joint_data(world.param_str()))
    alone, disturbed = open_stream(batches, params(0)), open_stream(batches, params(3, 6))
    opened.append(disturbed)
    first = pids(disturbed)
    for number in range(60):
        if number % 7 == 3:
            os.kill(pids(disturbed)[number % 3], signal.SIGKILL)
        one, other = take(alone, batches), take(disturbed, batches)
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not set(first) & set(pids(disturbed))
    said = capfd.readouterr().err
    assert "was killed by signal 9 (SIGKILL)" in said
    assert "a new one takes its place" in said


def test_all_workers_killed_at_once(opened: list) -> None:
    batches = Numbers()
    opened.append(open_stream(batches, params(3, 6)))
    for number in range(20):
        if number == 5:
            for pid in pids(opened[0]):
                os.kill(pid, signal.SIGKILL)
        assert (take(opened[0], batches)["data"] == number).all()


@pytest.mark.parametrize(
    "trouble, message",
    [
        (
            "kill",
            r"3 workers in turn failed at batch 5; the last, worker \d \(process \d+\) was kil",
        ),
        ("crash", r"(?s)was killed by signal 11 \(SIGSEGV\); its last words:.*in fill"),
        ("bug", r"(?s)worker \d \(process \d+\) failed on batch 5:.*ZeroDivisionError: deep down"),
    ],
)
def test_a_batch_that_cannot_be_computed(opened: list, trouble: str, message: str) -> None:
    batches = Numbers(trouble, at=5)
    opened.append(open_stream(batches, params(2)))
    for number in range(5):
        assert (take(opened[0], batches)["data"] == number).all()
    workers = pids(opened[0])
    with pytest.raises(WorkerError, match=message):
        take(opened[0], batches)
    assert not any(map(exists, workers))
    with pytest.raises(WorkerError, match="after the workers had ended"):
        take(opened[0], batches)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_bad_input_stops_at_its_own_batch(opened: list, workers: int) -> None:
    batches = Numbers("input", at=5)
    opened.append(open_stream(batches, params(workers, 8)))
    for _ in range(5):
        take(opened[0], batches)
    with pytest.raises(InputError, match=r"^image 7 of some_lmdb cannot be decoded$"):
        take(opened[0], batches)


def test_a_worker_that_hangs_is_named_with_the_place(opened: list) -> None:
    batches = Numbers("hang", at=2)
    opened.append(open_stream(batches, params(2, timeout_s=1)))
    take(opened[0], batches)
    take(opened[0], batches)
    workers = pids(opened[0])
    start = time.monotonic()
    with pytest.raises(WorkerError) as error:
        take(opened[0], batches)
    assert time.monotonic() - start > 2.5
    assert "3 workers in turn failed at batch 2; the last, worker" in str(error.value)
    assert "did not finish within 'timeout_s' 1 s" in str(error.value)
    assert "in fill" in str(error.value)
    assert not any(map(exists, workers))


def test_a_stopped_worker_is_a_timeout(opened: list) -> None:
    opened.append(open_stream(Numbers("stop", at=0), params(1, timeout_s=0.5)))
    with pytest.raises(WorkerError, match=r"worker 0 \(process \d+\) did not finish within"):
        take(opened[0], Numbers())


def test_a_worker_that_hangs_once_is_replaced(
    opened: list, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    class HangsOnce(Numbers):
        def fill(self, batch: int, out: Mapping[str, np.ndarray]) -> list[str]:
            if batch == 3 and not (tmp_path / "hung").exists():
                (tmp_path / "hung").touch()
                time.sleep(1000)
            return super().fill(batch, out)

    batches = HangsOnce()
    opened.append(open_stream(batches, params(2, timeout_s=1)))
    for number in range(12):
        assert (take(opened[0], batches)["data"] == number).all()
    said = capfd.readouterr().err
    assert re.search(r"did not finish within 'timeout_s' 1 s at batch 3; a new one takes", said)
    assert "in fill" in said


def test_workers_ignore_the_terminals_signals(opened: list) -> None:
    batches = Numbers()
    opened.append(open_stream(batches, params(2)))
    workers = pids(opened[0])
    take(opened[0], batches)
    assert isinstance(opened[0], PrefetchedStream)
    nursery = opened[0]._nursery.pid
    for pid in (*workers, nursery):
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(pid, number)
    for _ in range(10):
        take(opened[0], batches)
    assert pids(opened[0]) == workers
    assert opened[0]._nursery.pid == nursery


def private_kib(pid: int) -> int:
    """What a process has written, and shares with nobody."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))


def test_workers_that_come_late_do_not_keep_the_memory_of_training(opened: list) -> None:
    batches = Numbers()
    opened.append(open_stream(batches, params(2)))
    stream = opened[0]
    assert isinstance(stream, PrefetchedStream)
    take(stream, batches)
    weights = np.zeros(64 << 18, np.float32)  # 64 MiB that training rewrites
    for number in range(1, 5):
        os.kill(pids(stream)[number % 2], signal.SIGKILL)
        weights += 1
        for _ in range(5):
            take(stream, batches)
    stream.start_at(0)
    weights += 1
    assert (take(stream, batches)["data"] == 0).all()
    assert private_kib(os.getpid()) > 64 << 10
    assert all(private_kib(pid) < 16 << 10 for pid in (*pids(stream), stream._nursery.pid))


def test_a_nursery_that_is_killed_is_replaced(
    opened: list, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    batches = Numbers()
    opened.append(open_stream(batches, params(3, 6)))
    stream = opened[0]
    assert isinstance(stream, PrefetchedStream)
    before = [*pids(stream), stream._nursery.pid]
    for number in range(40):
        if number in (5, 20):
            old = pids(stream)
            os.kill(stream._nursery.pid, signal.SIGKILL)
            wait_for_end(old)
        out = take(stream, batches)
        assert (out["data"] == number).all()
    assert not set(before) & {*pids(stream), stream._nursery.pid}
    assert not any(map(exists, before))
    assert "the nursery of workers has ended; a new one takes its place" in capfd.readouterr().err
    os.kill(stream._nursery.pid, signal.SIGKILL)
    after = [*pids(stream), stream._nursery.pid]
    stream.close()
    wait_for_end(after)


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
    workers = pids(stream)
    assert not stays_in_shared_memory(before)
    stream.close()
    assert not any(map(exists, workers))
    stream.close()
    stream = open_stream(Numbers(), params(2))
    workers = pids(stream)
    del stream
    assert not any(map(exists, workers))


def test_workers_follow_a_parent_that_is_killed() -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        # two streams: the workers of one must not keep those of the other alive
        streams = [open_stream(Numbers("hang", at=n), params(2)) for n in (1, 100)]
        os.write(writer, " ".join(str(pid) for s in streams for pid in pids(s)).encode())
        time.sleep(1000)
        os._exit(0)
    workers = [int(pid) for pid in os.read(reader, 1000).split()]
    assert len(workers) == 4
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert not survivors(workers)


def test_forking_after_opencv_used_its_threads(opened: list, tmp_path: Path) -> None:
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5)
        world: World = make_world(tmp_path)
        batches = JointBatches(parse_joint_data(world.param_str(crop=400, resize=420)))
        opened.append(open_stream(batches, PrefetchParams(2, 2, 1 << 28, 20)))
        for number in range(4):
            expected = {name: np.empty(shape, np.float32) for name, shape in batches.tops.items()}
            batches.fill(number, expected)
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
