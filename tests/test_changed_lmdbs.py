"""LMDBs that change under a run, lack records, lie read-only, or hold grey images."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest

from conftest import draw_image, write_image_lmdb
from data_faults import put, workers_of
from joint_world import TARGETS, World, make_world
from sjft.batches import JointBatches, TargetBatches
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.layer_params import parse_joint_data, parse_target_data
from sjft.prefetch import open_stream
from whole_batches import blank


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "world").mkdir()
    return make_world(tmp_path / "world")


@pytest.mark.parametrize("which", ["target", "source"])
def test_an_lmdb_replaced_in_mid_run_is_noticed_by_the_next_worker(
    world: World, tmp_path: Path, which: str
) -> None:
    params = parse_joint_data(world.param_str(workers=1))
    batches = JointBatches(params)
    stream = open_stream(batches, params.prefetch)
    stream.next_into(blank(batches))
    path = Path(getattr(world, which))
    path.rename(tmp_path / "old")
    images = [draw_image(900 + i) for i in range(40)]
    write_image_lmdb(path, images, [i % 5 for i in range(40)])
    for _ in range(10):  # those who have the old one open go on with it
        stream.next_into(blank(batches))
    os.kill(workers_of(stream)[0], signal.SIGKILL)
    with pytest.raises(InputError, match=f"the {which} LMDB .* was replaced or changed while"):
        for _ in range(10):
            stream.next_into(blank(batches))
    with pytest.raises(InputError, match=f"was computed for another {which} LMDB"):
        JointBatches(params)


@pytest.mark.parametrize("which", ["target", "source"])
@pytest.mark.parametrize("size", [11, 1 << 25], ids=["small", "grown"])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_lmdb_changed_in_place_is_noticed(
    world: World, which: str, size: int, workers: int
) -> None:
    """One committed write, of a record that nobody reads, after the workers have read batches."""
    params = parse_joint_data(world.param_str(workers=workers))
    batches = JointBatches(params)
    stream = open_stream(batches, params.prefetch)
    for _ in range(10):
        stream.next_into(blank(batches))
    put(getattr(world, which), "zzz", size)
    with pytest.raises(InputError, match=f"the {which} LMDB .* was replaced or changed while it"):
        for _ in range(10):
            stream.next_into(blank(batches))
    stream.close()


def test_an_lmdb_changed_before_the_workers_open_it_is_noticed(world: World) -> None:
    params = parse_joint_data(world.param_str(workers=1))
    batches = JointBatches(params)
    put(world.source, "0000000005")
    stream = open_stream(batches, params.prefetch)
    with pytest.raises(InputError, match=r"the source LMDB .* was replaced or changed while"):
        for _ in range(10):
            stream.next_into(blank(batches))


@pytest.mark.parametrize("read_before", [0, 5])
def test_an_lmdb_changed_while_all_of_it_is_read(world: World, read_before: int) -> None:
    """The last record is as it was: what is noticed is the write, at the end if not before."""
    values = (images := ImageLmdb(world.source)).values()
    for _ in range(read_before):
        next(values)
    put(world.source, "0000000005")
    with pytest.raises(InputError, match=r"LMDB .* was replaced or changed while it was in use"):
        list(values)
    images.close()


def test_relative_paths_outlive_a_change_of_folder(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that takes another's place opens the LMDBs after the program's os.chdir."""
    monkeypatch.chdir(Path(world.target).parent)
    keys = {name: Path(getattr(world, name)).name for name in ("target", "source", "neighbours")}
    params = parse_joint_data(world.param_str(workers=1, **keys))
    batches = JointBatches(params)
    stream = open_stream(batches, params.prefetch)
    stream.next_into(blank(batches))
    monkeypatch.chdir(tmp_path)
    os.kill(workers_of(stream)[0], signal.SIGKILL)
    for _ in range(10):
        stream.next_into(blank(batches))
    stream.close()
    put(world.target, "zzz")
    with pytest.raises(InputError, match="the target LMDB target_lmdb was replaced or changed"):
        batches.fill(0, blank(batches))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("on_bad_image", ["error", "replace"])
def test_a_missing_record_is_named(tmp_path: Path, workers: int, on_bad_image: str) -> None:
    path = write_image_lmdb(tmp_path / "lmdb", [draw_image(i) for i in range(100)], [0] * 100)
    with lmdb.open(str(path), map_size=1 << 28) as env, env.begin(write=True) as transaction:
        value = transaction.pop(b"0000000050")
        transaction.put(b"zzz", value)  # the count stays
    shutil.rmtree(path / "lock.mdb", ignore_errors=True)
    keys = {"target": str(path), "crop": 32, "batch_size": 50, "on_bad_image": on_bad_image}
    params = parse_target_data(json.dumps({**keys, "workers": workers}), train=True)
    batches = TargetBatches(params)
    stream = open_stream(batches, params.prefetch)
    with pytest.raises(InputError, match=r"^record 50 \(key 0000000050\) of .* is missing"):
        for _ in range(2):  # one epoch
            stream.next_into(blank(batches))
    stream.close()


@pytest.mark.parametrize("grey", ["target", "source"])
def test_grey_and_coloured_images_train_together(world: World, tmp_path: Path, grey: str) -> None:
    """One channel in one set, three in the other: both become three."""
    mixed, coloured = (
        JointBatches(parse_joint_data(each.param_str(workers=0, mean=[0, 0, 0])))
        for each in (make_world(tmp_path, grey=grey), world)
    )
    for number in range(5):
        out, expected = blank(mixed), blank(coloured)
        assert mixed.fill(number, out) == coloured.fill(number, expected) == []
        halves = {"target": slice(0, 4), "source": slice(4, 8)}
        shown = out["data"][halves.pop(grey)]
        assert shown.std() > 10
        assert (shown == shown[:, :1]).all()
        (rest,) = halves.values()
        assert not (expected["data"][rest] == expected["data"][rest, :1]).all()
        for name, top in expected.items():
            same = rest if name == "data" else slice(None)
            np.testing.assert_array_equal(out[name][same], top[same])


READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && ! touch "$1/x" 2>/dev/null || exit 77
exec "$2" -c '
import json, sys
import numpy as np
from sjft.batches import JointBatches
from sjft.layer_params import parse_joint_data
from sjft.prefetch import open_stream
params = parse_joint_data(sys.argv[1])
batches = JointBatches(params)
stream = open_stream(batches, params.prefetch)
for _ in range(5):
    stream.next_into({n: np.empty(s, np.float32) for n, s in batches.tops.items()})
print("read", batches.summary())
' "$3"
"""


def test_lmdbs_on_a_read_only_file_system(world: World) -> None:
    folder = str(Path(world.target).parent)
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, "sh"]
    process = subprocess.run(
        [*command, folder, sys.executable, world.param_str(workers=2)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    if process.returncode == 77 or "unshare" in process.stdout:
        pytest.skip(f"needs the right to mount in a namespace of its own: {process.stdout[-200:]}")
    assert process.returncode == 0, process.stdout
    assert f"read {TARGETS} target images" in process.stdout
