"""Worker processes under faults, every one caused for real: killed, stuck, failing, orphaned."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from data_faults import Numbers, exists, params, take, workers_of
from joint_world import make_world
from processes import survivors
from sjft.batches import JointBatches
from sjft.errors import InputError
from sjft.layer_params import parse_joint_data
from sjft.prefetch import PrefetchedStream, open_stream
from sjft.worker_handle import WorkerError


def test_a_killed_worker_is_replaced_and_no_batch_is_lost(
    opened: list, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    world = make_world(tmp_path)
    batches = JointBatches(parse_joint_data(world.param_str()))
    alone, disturbed = open_stream(batches, params(0)), open_stream(batches, params(3, 6))
    opened.append(disturbed)
    first = workers_of(disturbed)
    for number in range(60):
        if number % 7 == 3:
            os.kill(workers_of(disturbed)[number % 3], signal.SIGKILL)
        one, other = take(alone, batches), take(disturbed, batches)
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not set(first) & set(workers_of(disturbed))
    said = capfd.readouterr().err
    assert "was killed by signal 9 (SIGKILL)" in said
    assert "a new one takes its place" in said


def test_a_signal_without_a_name(opened: list, capfd: pytest.CaptureFixture) -> None:
    opened.append(open_stream(Numbers(), params(1)))
    number = signal.SIGRTMIN + 5
    os.kill(workers_of(opened[0])[0], number)
    for _ in range(10):
        take(opened[0], Numbers())
    assert f"was killed by signal {number} (without a name)" in capfd.readouterr().err


def test_all_workers_killed_at_once(opened: list) -> None:
    batches = Numbers()
    opened.append(open_stream(batches, params(3, 6)))
    for number in range(20):
        if number == 5:
            for pid in workers_of(opened[0]):
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
    batches.waits[0] = 1  # or a worker that runs ahead dies three times while others are asked
    opened.append(open_stream(batches, params(2)))
    for number in range(5):
        assert (take(opened[0], batches)["data"] == number).all()
    workers = workers_of(opened[0])
    batches.waits[0] = 0
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


def test_a_worker_that_hangs_is_named_with_the_place(
    opened: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sjft.worker_handle._TIME_TO_SPEAK_S", 60)
    batches = Numbers("hang", at=2)
    opened.append(open_stream(batches, params(2, timeout_s=1)))
    take(opened[0], batches)
    take(opened[0], batches)
    workers = workers_of(opened[0])
    start = time.monotonic()
    with pytest.raises(WorkerError) as error:
        take(opened[0], batches)
    assert time.monotonic() - start > 2.5
    assert "3 workers in turn failed at batch 2; the last, worker" in str(error.value)
    assert "did not finish within 'timeout_s' 1 s" in str(error.value)
    assert "in fill" in str(error.value) and "in serve" not in str(error.value)
    assert not any(map(exists, workers))


def test_a_stopped_worker_is_a_timeout(opened: list) -> None:
    opened.append(open_stream(Numbers("stop", at=0), params(1, timeout_s=0.5)))
    with pytest.raises(WorkerError, match=r"worker 0 \(process \d+\) did not finish within"):
        take(opened[0], Numbers())


def test_a_worker_that_hangs_once_is_replaced(
    opened: list, tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sjft.worker_handle._TIME_TO_SPEAK_S", 60)

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
    workers = workers_of(opened[0])
    take(opened[0], batches)
    assert isinstance(opened[0], PrefetchedStream)
    nursery = opened[0]._nursery.pid
    for pid in (*workers, nursery):
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(pid, number)
    for _ in range(10):
        take(opened[0], batches)
    assert workers_of(opened[0]) == workers
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
        os.kill(workers_of(stream)[number % 2], signal.SIGKILL)
        weights += 1
        for _ in range(5):
            take(stream, batches)
    stream.start_at(0)
    weights += 1
    assert (take(stream, batches)["data"] == 0).all()
    assert private_kib(os.getpid()) > 64 << 10
    assert all(private_kib(pid) < 16 << 10 for pid in (*workers_of(stream), stream._nursery.pid))


def test_a_nursery_that_is_killed_is_replaced(
    opened: list, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    batches = Numbers()
    opened.append(open_stream(batches, params(3, 6)))
    stream = opened[0]
    assert isinstance(stream, PrefetchedStream)
    before = [*workers_of(stream), stream._nursery.pid]
    for number in range(40):
        if number in (5, 20):
            old = workers_of(stream)
            os.kill(stream._nursery.pid, signal.SIGKILL)
            assert not survivors(old)
        out = take(stream, batches)
        assert (out["data"] == number).all()
    assert not set(before) & {*workers_of(stream), stream._nursery.pid}
    assert not survivors(before)
    assert "the nursery of workers has ended; a new one takes its place" in capfd.readouterr().err
    os.kill(stream._nursery.pid, signal.SIGKILL)
    after = [*workers_of(stream), stream._nursery.pid]
    stream.close()
    assert not survivors(after)


def test_a_nursery_that_answers_late_is_not_believed(
    opened: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sjft.nursery._TIME_TO_ANSWER_S", 0.2)
    opened.append(open_stream(Numbers(), params(2)))
    stream = opened[0]
    assert isinstance(stream, PrefetchedStream)
    nursery = stream._nursery
    monkeypatch.setattr("sjft.nursery._TIME_TO_ANSWER_S", 30)
    before = [*workers_of(stream), nursery.pid]
    os.kill(nursery.pid, signal.SIGSTOP)
    os.kill(before[0], signal.SIGKILL)
    assert nursery.reap(before[0]) is None  # it waits for an answer no longer, which comes then
    os.kill(nursery.pid, signal.SIGCONT)
    for number in range(10):
        assert (take(stream, Numbers())["data"] == number).all()
    assert stream._nursery is not nursery
    assert not set(before) & set(workers_of(stream))
    assert not survivors(before)


@pytest.mark.parametrize("reaped", [False, True])
def test_a_program_that_takes_no_notice_of_its_children(
    opened: list, capfd: pytest.CaptureFixture, reaped: bool
) -> None:
    def reap(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    before = signal.signal(signal.SIGCHLD, reap if reaped else signal.SIG_IGN)
    try:
        opened.append(open_stream(Numbers("input", at=9), params(2)))
        for number in range(9):
            if number == 2:
                os.kill(workers_of(opened[0])[0], signal.SIGKILL)
            take(opened[0], Numbers())
        with pytest.raises(InputError, match="image 7 of some_lmdb"):
            take(opened[0], Numbers())
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert "was killed by signal 9 (SIGKILL)" in capfd.readouterr().err


def test_no_folder_for_temporary_files(opened: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that is read-only, or where all disks are full."""
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    opened.append(open_stream(Numbers(), params(2)))
    assert (take(opened[0], Numbers())["data"] == 0).all()


def test_a_system_without_files_in_memory(opened: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create")
    monkeypatch.setattr("sjft.worker_handle._TIME_TO_SPEAK_S", 60)
    opened.append(open_stream(Numbers("hang", at=2), params(1, timeout_s=0.5)))
    take(opened[0], Numbers())
    take(opened[0], Numbers())
    with pytest.raises(WorkerError, match=r"(?s)did not finish .* last words:.* in fill"):
        take(opened[0], Numbers())


def test_workers_follow_a_parent_that_is_killed() -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            # two streams: the workers of one must not keep those of the other alive
            streams = [open_stream(Numbers("hang", at=n), params(2)) for n in (1, 100)]
            os.write(writer, " ".join(str(pid) for s in streams for pid in workers_of(s)).encode())
            time.sleep(1000)
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb", buffering=0) as pids:
        workers = [int(pid) for pid in pids.read(1000).split()]
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert len(workers) == 4
    assert not survivors(workers)
