"""`sjft import-original`: the text files of the authors' fork become LMDBs, levels and bins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import original_fork as fork
from conftest import draw_image, run_sjft, write_image_lmdb
from sjft.image_lmdb import ImageLmdb
from sjft.neighbour_lmdb import NeighbourLmdb
from sjft_tools.bins import load_bins
from sjft_tools.cli import main


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    """A folder with the fork's files and what `sjft import-original` made of them."""
    folder = tmp_path_factory.mktemp("fork")
    fork.import_files(folder)
    return folder


def test_images(imported):
    source = ImageLmdb(str(imported / "source_lmdb"))
    assert source.labels.tolist() == [i * i % fork.SOURCE_CLASSES for i in range(fork.SOURCES)]
    np.testing.assert_array_equal(source.image(7), draw_image(7, fork.SIZE, fork.SIZE + 4))
    for version, name in enumerate(("target_lmdb", "target_lmdb_v2")):
        target = ImageLmdb(str(imported / name))
        assert target.labels.tolist() == [i % fork.CLASSES for i in range(fork.TARGETS)]
        drawn = draw_image(100 + 10 * 4 + version, fork.SIZE, fork.SIZE + 4)
        np.testing.assert_array_equal(target.image(4), drawn)


def test_neighbours_and_levels(imported):
    neighbours = NeighbourLmdb(str(imported / "neighbours_lmdb"))
    assert neighbours.k == fork.K
    for i in range(fork.TARGETS):
        assert neighbours.indices(i).tolist() == fork.neighbours(i)
        assert neighbours.distances(i).tolist() == list(range(fork.K))
    levels = json.loads((imported / "levels.json").read_text())
    assert levels["levels"] == [1, 2, 1, 2, 1, 2]


@pytest.mark.parametrize("channels", [48, 352])
def test_bins(imported, tmp_path, channels, request):
    weights = []
    if channels == 352:
        folder = request.getfixturevalue("shared_data")
        weights = ["--weights", folder / "alexnet_conv12.npz"]
    (tmp_path / "bins.txt").write_text(fork.bins_text(channels, 100))
    target = imported / "target_lmdb"
    output = tmp_path / "bins.npz"
    run_sjft("import-original", "bins", tmp_path / "bins.txt", target, output, *weights)
    bins = load_bins(str(output))
    assert bins.edges.shape == (channels, 100)
    assert bins.minimum[3] == np.float32(-2) and bins.edges[0, 49] == pytest.approx(0, abs=1e-6)
    source = imported / "source_lmdb"
    run_sjft(
        *("retrieve", target, source, tmp_path / "n", "--bins-file", output, "--k", 3, *weights)
    )
    assert NeighbourLmdb(str(tmp_path / "n")).k == 3


@pytest.mark.parametrize(
    ("kind", "lines", "why"),
    [
        ("source-images", ["a b 0 1"], "line 1 of f.txt has 4 fields"),
        ("source-images", ["s0.png 0 1", "s1.png 2 1"], "has the number 2, expected 1"),
        ("source-images", ["s0.png 0 -1"], "line 1 of f.txt has the class '-1'"),
        ("source-images", [""], "f.txt is empty"),
        ("source-images", ["none.png 0 1"], "none.png"),
        ("target-images", ["t0_0.png 0 1"], "has 3 fields: expected a path without spaces"),
        ("target-images", ["t0_0.png 0 1 0", "t1_0.png 1 2 0"], "the class 2 for the image 0"),
        ("target-images", ["t0_0.png 0 1 0", "t1_0.png 1 2 2"], "no line for the image 1"),
        ("neighbours", ["0 1 2 9", "1 1 9"], "line 2 of f.txt has 3 fields, expected 4"),
        ("neighbours", ["0 1 2 9", "0 1 2 9"], "is a second one for the target 0"),
        ("neighbours", ["0 1 20 9"], "has the neighbour '20': expected an integer from 0 to 19"),
        ("neighbours", ["9 1 2 9"], "has the target '9': expected an integer from 0 to 5"),
        ("neighbours", ["0 1 2 9"], "no line for the target 1: expected all of 6"),
        ("levels", ["0 1", "1 0"], "line 2 of f.txt has the level 0"),
        ("levels", ["0 1"], "no line for the target 1"),
        ("levels", ["0"], "line 1 of f.txt has 1 fields"),
        ("bins", ["0 1 x 1"], "does not hold numbers alone"),
        ("bins", ["0 1 0.5 0.5 1 0.5"] * 7, "bins of 7 channels, expected AlexNet's"),
        ("bins", ["0 1 0.7 0.5 0.2 0.5"], "bins that do not ascend"),
        ("bins", ["0 1 0.5 0.5 1 0.5", "0 1 0.5 0.5 0.7 0.2 1 0.5"], "has 3 bins, others 2"),
        ("bins", ["0 1 0.5"], "has 3 numbers"),
    ],
)
def test_bad_files(imported, tmp_path, monkeypatch, capsys, kind, lines, why):
    (tmp_path / "f.txt").write_text("\n".join(lines))
    places = {
        "source-images": ["out", "--root", imported / "images"],
        "target-images": ["out", "--root", imported / "images"],
        "neighbours": [imported / "target_lmdb", imported / "source_lmdb", "out"],
        "levels": [imported / "target_lmdb", "out"],
        "bins": [imported / "target_lmdb", "out"],
    }
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["import-original", kind, "f.txt", *map(str, places[kind])])
    assert left.value.code == 2
    assert why in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["f.txt"]


def test_levels_above_ten_are_cut(imported, tmp_path):
    (tmp_path / "f.txt").write_text("".join(f"{i} {i + 6}\n" for i in range(fork.TARGETS)))
    target = imported / "target_lmdb"
    said = run_sjft("import-original", "levels", tmp_path / "f.txt", target, tmp_path / "l.json")
    assert "1 above 10 were cut to it" in said
    assert json.loads((tmp_path / "l.json").read_text())["levels"] == [6, 7, 8, 9, 10, 10]


def test_force_replaces_nothing_but_an_lmdb_of_its_kind(imported, tmp_path):
    shutil.copytree(imported / "images", tmp_path / "images")
    shutil.copytree(imported / "neighbours_lmdb", tmp_path / "neighbours")
    before = sorted(path.name for path in (tmp_path / "images").iterdir())
    arguments = ("--root", imported / "images", "--force")
    for output, why in (
        ("images", "--force replaces only an LMDB"),
        ("neighbours", "--force replaces only 'sjft image lmdb 1'"),
    ):
        for kind, name in (("source-images", "source.txt"), ("target-images", "target.txt")):
            said = run_sjft(
                *("import-original", kind, imported / name, tmp_path / output, *arguments), status=2
            )
            assert why in said
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == before
    assert (tmp_path / "neighbours" / "sjft.json").exists()


def test_stopped_between_versions(imported, tmp_path):
    shutil.copytree(imported / "target_lmdb_v2", tmp_path / "t_v2")
    before = (tmp_path / "t_v2/data.mdb").stat().st_mtime_ns
    arguments = ("target-images", imported / "target.txt", tmp_path / "t")
    said = run_sjft("import-original", *arguments, "--root", imported / "images")
    assert "t_v2 is there already" in said
    assert (tmp_path / "t_v2/data.mdb").stat().st_mtime_ns == before
    expected = ImageLmdb(str(imported / "target_lmdb")).fingerprint
    assert ImageLmdb(str(tmp_path / "t")).fingerprint == expected
    shutil.rmtree(tmp_path / "t")
    shutil.rmtree(tmp_path / "t_v2")
    write_image_lmdb(tmp_path / "t_v2", [draw_image(1)], [0])
    said = run_sjft("import-original", *arguments, "--root", imported / "images", status=2)
    assert "t_v2 holds other images" in said
    shutil.rmtree(tmp_path / "t_v2")
    shutil.copytree(imported / "target_lmdb", tmp_path / "t_v2")  # of the same labels
    said = run_sjft("import-original", *arguments, "--root", imported / "images", status=2)
    assert "t_v2 holds other images" in said and not (tmp_path / "t").exists()


def test_levels_are_cut_to_the_nets_highest(imported, tmp_path):
    (tmp_path / "f.txt").write_text("".join(f"{i} {i + 1}\n" for i in range(fork.TARGETS)))
    arguments = ("levels", tmp_path / "f.txt", imported / "target_lmdb", tmp_path / "l.json")
    said = run_sjft("import-original", *arguments, "--highest", 5)
    assert "1 above 5 were cut to it" in said
    assert json.loads((tmp_path / "l.json").read_text())["levels"] == [1, 2, 3, 4, 5, 5]


def test_lines_of_validation_images(imported, tmp_path):
    """The fork numbers them behind the training images, and its target list does not hold them."""
    target, source = imported / "target_lmdb", imported / "source_lmdb"
    val = fork.TARGETS + 1
    near = f"{val}\t" + "1\t" * (fork.K + 1) + "\n" + (imported / "neighbours.txt").read_text()
    (tmp_path / "n.txt").write_text(near)
    (tmp_path / "l.txt").write_text(f"{val} 0\n" + (imported / "levels.txt").read_text())
    for kind, *places in (
        ("neighbours", tmp_path / "n.txt", target, source, tmp_path / "n"),
        ("levels", tmp_path / "l.txt", target, tmp_path / "l.json"),
    ):
        said = run_sjft("import-original", kind, *places, status=2)
        assert f"line 1 of {places[0]} has the target '{val}': expected an integer from 0" in said
        said = run_sjft("import-original", kind, *places, "--leave-out-validation")
        assert "; left out the lines of 1 other targets" in said
    expected = NeighbourLmdb(str(imported / "neighbours_lmdb"))
    assert NeighbourLmdb(str(tmp_path / "n")).indices(3).tolist() == expected.indices(3).tolist()
    assert (tmp_path / "l.json").read_text() == (imported / "levels.json").read_text()


def test_bins_of_all_of_alexnet(imported, tmp_path, shared_data):
    """The fork's statistics net writes those of conv1 to conv5, in this order."""
    arguments = (imported / "target_lmdb", "--weights", shared_data / "alexnet_conv12.npz")
    for name, channels in (("two", 352), ("all", 1376)):
        (tmp_path / f"{name}.txt").write_text(fork.bins_text(channels, 10))
        places = (tmp_path / f"{name}.txt", arguments[0], tmp_path / f"{name}.npz")
        said = run_sjft("import-original", "bins", *places, *arguments[1:])
    assert "of 1376 channels the first 352 are taken, AlexNet's conv1 and conv2" in said
    two, both = (load_bins(str(tmp_path / f"{name}.npz")) for name in ("two", "all"))
    np.testing.assert_array_equal(two.edges, both.edges)
    np.testing.assert_array_equal(two.minimum, both.minimum)
