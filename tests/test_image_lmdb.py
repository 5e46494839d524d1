"""Reading image LMDBs: what is refused, forks, several readers."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest

from conftest import draw_image
from processes import run
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.side_file import Fingerprint, probe_positions
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum

FORK = multiprocessing.get_context("fork")


def test_positions_follow_keys(make_lmdb):
    images = ImageLmdb(make_lmdb("a", 25, classes=4))
    assert len(images) == images.count == 25
    assert images.labels.dtype == np.int32
    assert images.labels.tolist() == [i % 4 for i in range(25)]
    assert images.class_names == [f"class {c}" for c in range(4)]
    assert images.key(7) == b"0000000007"
    assert images.name(7) == f"record 7 (key 0000000007) of {images.path}"
    for i in (0, 7, 24):
        np.testing.assert_array_equal(images.image(i), draw_image(i))
    everything = list(images.values())
    assert everything == [images.value(i) for i in range(25)]
    assert list(images.values(5, 9)) == everything[5:9]
    assert list(images.values(24)) == everything[24:]
    assert list(images.values(9, 9)) == list(images.values(25)) == []
    with pytest.raises(InputError, match=r"^record 25 \(key 0000000025\) .* is missing"):
        images.value(25)
    with pytest.raises(InputError, match=r"^record 25 .* is missing"):
        list(images.values(20, 26))


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 100, 1_281_167])
def test_probes_are_spread_over_the_records(count):
    positions = probe_positions(count)
    assert positions[0] == 0 and positions[-1] == count - 1
    assert len(positions) == len(set(positions)) == min(count, 16)
    assert max(np.diff(positions), default=0) <= -(-count // 15)


def test_the_fingerprint_is_of_keys_and_values_in_order():
    def text(*records: tuple[bytes, bytes]) -> str:
        fingerprint = Fingerprint()
        for record in records:
            fingerprint.add(*record)
        return fingerprint.text()

    assert text((b"a", b"bc")) != text((b"ab", b"c"))
    assert text((b"a", b"1"), (b"b", b"2")) != text((b"b", b"2"), (b"a", b"1"))
    assert text() == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_missing_and_empty(tmp_path):
    with pytest.raises(
        InputError, match=r"^the source LMDB .*no does not exist: expected a folder"
    ):
        ImageLmdb(str(tmp_path / "no"), "source")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match=r"loop cannot be opened \(Too many levels of symbolic"):
        ImageLmdb(str(tmp_path / "loop"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"does not exist: expected a folder with data.mdb"):
        ImageLmdb(str(tmp_path / "folder"))
    (tmp_path / "folder" / "data.mdb").write_bytes(b"")
    with pytest.raises(InputError, match=r"is truncated: data.mdb has 0 bytes"):
        ImageLmdb(str(tmp_path / "folder"))
    (tmp_path / "folder" / "data.mdb").write_bytes(b"<html>" * 5000)
    with pytest.raises(InputError, match=r"cannot be opened"):
        ImageLmdb(str(tmp_path / "folder"))
    (tmp_path / "empty").mkdir()
    lmdb.open(str(tmp_path / "empty")).close()
    with pytest.raises(InputError, match=r"is empty: expected at least one record"):
        ImageLmdb(str(tmp_path / "empty"))
    nothing = pytest.raises(
        InputError, match=r"no image was given for .*out: expected at least one"
    )
    with nothing, ImageLmdbWriter(str(tmp_path / "out")):
        pass
    assert sorted(os.listdir(tmp_path)) == ["empty", "folder", "loop"]


READ_ALL = """
import sys
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
try:
    images = ImageLmdb(sys.argv[1])
    list(images.values())
except InputError as error:
    print(error)
    sys.exit(2)
"""


def read_all(path: str, status: int = 0) -> str:
    """Read in a process of its own, since a read past the end of a file ends the process."""
    return run(sys.executable, "-c", READ_ALL, path, status=status)


def test_every_truncation_is_refused(make_lmdb):
    path = make_lmdb("a", 12)
    assert read_all(path) == ""
    data = os.path.join(path, "data.mdb")
    size = os.path.getsize(data)
    for left in [size - 1, size - 4096, size // 2, 8193, 8192, 8191, 4096, 100, 1, 0]:
        os.truncate(data, left)
        printed = read_all(path, status=2)
        assert f"the image LMDB {path} " in printed
        assert "truncated" in printed or "cannot be opened" in printed or "empty" in printed


def test_changed_contents_are_refused(make_lmdb, tmp_path):
    path = make_lmdb("a", 12)
    for change in ("value", "more", "fewer"):
        changed = str(tmp_path / change)
        shutil.copytree(path, changed)
        with lmdb.open(changed, map_size=1 << 26) as env, env.begin(write=True) as transaction:
            if change == "value":
                transaction.put(b"0000000011", encoded_datum(b"other", 0))
            elif change == "more":
                transaction.put(b"0000000012", encoded_datum(b"other", 0))
            else:
                transaction.delete(b"0000000003")
        with pytest.raises(InputError, match=r"is not the one that its sjft.json describes"):
            ImageLmdb(changed)


def test_side_files_that_do_not_fit(make_lmdb):
    path, other = Path(make_lmdb("a", 12)), Path(make_lmdb("b", 12, seed=1))
    content = json.loads((path / "sjft.json").read_text())

    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            ImageLmdb(str(path))

    (path / "sjft.json").write_text((other / "sjft.json").read_text())
    refused(r"is not the one that its sjft.json describes \(12 records, 12 described\)")
    (path / "sjft.json").write_text(json.dumps(content)[:-9])
    refused(r"sjft.json cannot be read")
    (path / "sjft.json").write_text("[1]")
    refused(r"its sjft.json says format None, expected 'sjft image lmdb 1'")
    (path / "sjft.json").write_text(json.dumps({**content, "format": "sjft image lmdb 9"}))
    refused(r"says format 'sjft image lmdb 9', expected 'sjft image lmdb 1'")
    for key in ("count", "probe", "key_format", "class_names", "fingerprint"):
        left = {k: v for k, v in content.items() if k != key}
        (path / "sjft.json").write_text(json.dumps(left))
        refused(f"sjft.json lacks the key '{key}': expected a file that sjft wrote")
        (path / "sjft.json").write_text(json.dumps({**content, key: {}}))
        refused(rf"sjft.json says {key} {{}}: expected a file that sjft wrote, unchanged")
    (path / "sjft.json").unlink()
    refused(rf"has no sjft.json: run 'sjft index {path}' if Caffe's own tools made it")
    (path / "sjft.json").write_text(json.dumps(content))
    np.save(path / "sjft_labels.npy", np.zeros(11, np.int32))
    refused(r"sjft_labels.npy has shape \(11,\), expected \(12,\)")
    for damaged in (b"x", b""):
        (path / "sjft_labels.npy").write_bytes(damaged)
        refused(r"sjft_labels.npy cannot be read")
    (path / "sjft_labels.npy").unlink()
    refused(r"sjft_labels.npy cannot be read")


def test_two_readers_in_one_process(make_lmdb, tmp_path):
    path = make_lmdb("a", 5)
    (tmp_path / "link").symlink_to(path)
    first, second, linked = ImageLmdb(path), ImageLmdb(path), ImageLmdb(str(tmp_path / "link"))
    first.close()
    np.testing.assert_array_equal(second.image(3), draw_image(3))
    second.close()
    np.testing.assert_array_equal(linked.image(3), draw_image(3))
    linked.close()
    linked.close()
    np.testing.assert_array_equal(first.image(3), draw_image(3))  # opens again


def test_an_lmdb_that_is_replaced_while_it_is_read(make_lmdb, tmp_path):
    path = make_lmdb("a", 5)
    old = ImageLmdb(path)
    before = old.value(4)
    os.rename(path, tmp_path / "moved")
    make_lmdb("a", 5, seed=1)
    new = ImageLmdb(path)
    assert new.value(4) != before
    assert old.value(4) == before


def test_a_reader_needs_no_leave_to_write(make_lmdb):
    path = make_lmdb("a", 5)
    for name in os.listdir(path):
        os.chmod(os.path.join(path, name), 0o444)
    os.chmod(path, 0o555)
    assert ImageLmdb(path).count == 5
    assert not os.path.exists(os.path.join(path, "lock.mdb"))


def _pixels(images: ImageLmdb, i: int) -> bytes:
    return images.image(i).tobytes()


def test_readers_work_across_a_fork(make_lmdb):
    """Opened in the parent, read in children that run at the same time, then read in the parent."""
    images = ImageLmdb(make_lmdb("a", 30))
    expected = [_pixels(images, i) for i in range(30)]
    children = [FORK.Process(target=_check_in_child, args=(images, expected)) for _ in range(4)]
    for child in children:
        child.start()
    assert [_pixels(images, i) for i in range(30)] == expected
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert [_pixels(images, i) for i in range(30)] == expected


def _check_in_child(images: ImageLmdb, expected: list[bytes]) -> None:
    assert [_pixels(images, i) for i in range(30)] == expected
    images.close()
    again = ImageLmdb(images.path)
    assert [_pixels(again, i) for i in range(30)] == expected


def test_the_writer_grows_its_map_within_one_batch(tmp_path):
    """A single record larger than the first map of 64 MiB."""
    value = encoded_datum(os.urandom(90 << 20), 1)
    with ImageLmdbWriter(str(tmp_path / "big")) as writer:
        writer.add(value, 1)
        writer.add(encoded_datum(b"x", 2), 2)
    images = ImageLmdb(str(tmp_path / "big"))
    assert images.count == 2 and images.value(0) == value


def test_a_negative_label_is_refused(make_lmdb: Callable[..., str]) -> None:
    path = make_lmdb("images", 4)
    np.save(f"{path}/sjft_labels.npy", np.array([0, 1, -1, 0], np.int32))
    with pytest.raises(InputError, match=r"record 2 .* has the label -1: expected 0 or more"):
        ImageLmdb(path)
