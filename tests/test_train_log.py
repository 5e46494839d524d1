"""``sjft train``: from Caffe's log to the CSV."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from sjft.errors import InputError
from sjft_tools.training.caffe_log import Event, LogReader, parse_line
from sjft_tools.training.patient_file import PatientFile
from sjft_tools.training.table import NetOutputs, Table, column_names

OLD, NEW = "I1125 19:39:00.123456 10390 solver.cpp:239] ", "I20261125 19:39:00.123456 1 s.cpp:2] "

# Caffe's log.


@pytest.mark.parametrize(
    "text, event",
    [
        ("Iteration 0, loss = 2.3", Event("loss", "2.3", 0)),
        ("Iteration 20 (12.5 iter/s, 1.6s/20 iters), loss = 0.25", Event("loss", "0.25", 20)),
        ("Iteration 20 (12.5 iter/s, 1.6s/20 iter), loss = 0.25", Event("loss", "0.25", 20)),
        ("Iteration 9 (1 iter/s, 9s/9 iter), 1.3/2.5ep, loss = 3", Event("loss", "3", 9)),
        ("Iteration 220, loss = nan", Event("loss", "nan", 220)),
        ("Iteration 2, loss = -1e-07", Event("loss", "-1e-07", 2)),
        ("Iteration 0 (-6.7e-37 iter/s, 0s/2 iters), loss = 1", Event("loss", "1", 0)),
        ("Iteration 30, lr = 7.8125e-07", Event("lr", "7.8125e-07", 30)),
        ("Iteration 30, lr = 0.01, m = 0.9, wd = 0.0005, gs = 1", Event("lr", "0.01", 30)),
        ("Iteration 500, Testing net (#1)", Event("testing", "", 500, 1)),
        (
            "    Train net output #2: loss3/top-1 = 0.5",
            Event("train", "0.5", None, None, 2, "loss3/top-1"),
        ),
        (
            "    Train net output #0: loss = 0.997 (* 0.3 = 0.2991 loss)",
            Event("train", "0.997", None, None, 0, "loss"),
        ),
        ("    Test net output #1: a = b = 7", Event("test", "7", None, None, 1, "a = b")),
        ("Test loss: 0.641374", Event("test_loss", "0.641374")),
        ("Test score #1: 15.3443", Event("test", "15.3443", None, None, 1, "score1")),
        ("Snapshotting to binary proto file x_iter_5.caffemodel", None),
        ("Ignoring source layer fc8", None),
        ("Optimization Done.", None),
    ],
)
@pytest.mark.parametrize("prefix", [OLD, NEW, f"{NEW}[0] ", f"{OLD}[0.1] "])
def test_lines_of_the_log(prefix: str, text: str, event: Event | None) -> None:
    assert parse_line(prefix + text) == event
    assert parse_line(f"{prefix}{text}\n") == event


@pytest.mark.parametrize("line", ["", "sjft: Iteration 0, loss = 2.3", "Iteration 0, loss = 2.3"])
def test_lines_that_are_not_of_the_log(line: str) -> None:
    assert parse_line(line) is None


def test_lines_without_an_iteration_belong_to_the_last_that_has_one() -> None:
    log = [
        "Test loss: 9",  # the log's start is missing
        "Iteration 10, Testing net (#0)",
        "Test net output #0: acc = 0.5",
        "Iteration 10, Testing net (#1)",
        "Test loss: 3",
        "Test net output #0: acc = 0.25",
        "Iteration 10, loss = 1",
        "Train net output #0: loss = 2",
        "Iteration 10, lr = 0.1",
        "Iteration 11, Testing net (#0)",
        "Test net output #0: acc = 0.75",
        "Train net output #1: other = 4",
    ]
    reader = LogReader()
    events = [reader.read(NEW + line) for line in log]
    assert [event for event in events if event is not None] == [
        Event("test", "0.5", 10, 0, 0, "acc"),
        Event("test_loss", "3", 10, 1),
        Event("test", "0.25", 10, 1, 0, "acc"),
        Event("loss", "1", 10, 0),
        Event("train", "2", 10, 0, 0, "loss"),
        Event("lr", "0.1", 10, 0),
        Event("test", "0.75", 11, 0, 0, "acc"),
        Event("train", "4", 10, 0, 1, "other"),
    ]


# The CSV.

OUTPUTS = NetOutputs([("loss", 1)], [[("acc", 1), ("per_class", 2)]])


def write_rows(path: Path, iterations: range, start: int = 0, **names: bool) -> None:
    table = Table(str(path), column_names(OUTPUTS, names.get("test_loss", False)), start)
    for i in iterations:
        if i % 2 == 0:
            table.add(Event("test", f"0.{i}", i, 0, 2), i)
        table.add(Event("loss", f"{i}.5", i, 0), i)
        table.add(Event("train", f"{i}", i, 0, 0), i)
        table.add(Event("train", "7", i, 0, 1), i)  # an output that the net did not announce
        table.add(Event("lr", "0.1", i, 0), i)
    table.flush()
    table.file.close()


def test_columns_of_several_nets() -> None:
    outputs = NetOutputs([("loss", 1), ("v", 2)], [[("total_loss", 1)], []])
    assert column_names(outputs, with_test_loss=True) == {
        ("train", 0, 0): "train_loss",
        ("train", 0, 1): "train_v[0]",
        ("train", 0, 2): "train_v[1]",
        ("test", 0, 0): "test0_total_loss",
        ("test_loss", 0, 0): "test0_total_loss_",
        ("test_loss", 1, 0): "test1_total_loss",
    }


def test_one_row_per_iteration(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write_rows(path, range(3))
    assert path.read_text().splitlines() == [
        "iteration,seconds,lr,loss,train_loss,test_acc,test_per_class[0],test_per_class[1]",
        "0,0.00,0.1,0.5,0,,,0.0",
        "1,1.00,0.1,1.5,1,,,",
        "2,2.00,0.1,2.5,2,,,0.2",
    ]


def test_rows_appear_when_their_iteration_is_done(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    table = Table(str(path), column_names(OUTPUTS, False), 0)
    table.add(Event("test", "0.5", 4, 0, 0), 1.0)
    table.flush_before(4)
    assert path.read_text().count("\n") == 1
    table.flush_before(5)
    assert path.read_text().endswith("\n4,1.00,,,,0.5,,\n")
    table.file.close()


def test_a_resumed_run_reads_as_one(tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight.csv", tmp_path / "resumed.csv"
    write_rows(straight, range(8))
    write_rows(resumed, range(6))
    with resumed.open("a") as file:
        file.write("6,6.00,0.1,6.")  # torn
    write_rows(resumed, range(4, 8), start=4)
    ours, theirs = resumed.read_text().splitlines(), straight.read_text().splitlines()
    assert [line.split(",")[0] for line in ours[1:]] == list("01234567")
    assert [line.split(",")[2:] for line in ours] == [line.split(",")[2:] for line in theirs]
    assert ours[5].split(",")[1] == "7.00"  # 3 s before the snapshot, 4 s after


def test_a_resumed_run_with_other_outputs(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write_rows(path, range(2))
    write_rows(path, range(1, 3), start=1, test_loss=True)
    assert path.read_text().splitlines() == [
        "iteration,seconds,lr,loss,train_loss,test_acc,test_per_class[0],test_per_class[1],"
        "test_total_loss",
        "0,0.00,0.1,0.5,0,,,0.0,",
        "1,1.00,0.1,1.5,1,,,,",
        "2,2.00,0.1,2.5,2,,,0.2,",
    ]


def test_another_csv_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("name,price\napple,3\n")
    with pytest.raises(InputError, match=r"x\.csv is not the CSV of a training run: expected col"):
        Table(str(path), {}, 1)
    assert path.read_text() == "name,price\napple,3\n"


def test_what_a_full_disk_refuses_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = PatientFile(str(path), append=False)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        file.write(b"0123456")
        assert file.trouble is None
        file.write(b"7890\n")
        assert file.trouble == "File too large"
        file.write(b"next\n")
        assert path.read_bytes() == b"0123456789"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.close()
    assert file.trouble is None
    assert path.read_bytes() == b"01234567890\nnext\n"
