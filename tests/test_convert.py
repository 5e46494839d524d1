"""sjft convert, and the LMDBs it writes as the native Data layer sees them."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

import caffe
from conftest import draw_image, run_sjft
from converting import KEEP, datums, encode, write_files, write_photos
from sjft.image_lmdb import ImageLmdb
from sjft.images import decode_image
from sjft.messages import Datum
from sjft_tools.image_files import Storage, stored_image


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_photos(tmp_path)


# ---- forms


def test_list_keeps_the_bytes(tmp_path):
    jpeg, png = encode(draw_image(1)), encode(draw_image(2), ".png")
    write_files(tmp_path, {"im ages/a b.jpg": jpeg, "c.png": png})
    (tmp_path / "list.txt").write_text("im ages/a b.jpg 7\r\n\n  \nc.png\t 0\nim ages/a b.jpg 3")
    out = tmp_path / "lmdb"
    printed = run_sjft("convert", "list", tmp_path / "list.txt", out)
    assert "wrote 3 images, 3 classes (labels 0 to 7)" in printed
    assert [key for key, _ in datums(out)] == [b"0000000000", b"0000000001", b"0000000002"]
    assert [d.data for _, d in datums(out)] == [jpeg, png, jpeg]
    assert [d.label for _, d in datums(out)] == [7, 0, 3]
    assert all(d.encoded and (d.channels, d.height, d.width) == (3, 40, 48) for _, d in datums(out))
    images = ImageLmdb(str(out))
    assert images.count == 3
    assert images.labels.tolist() == [7, 0, 3]
    assert images.class_names == []
    np.testing.assert_array_equal(images.image(1), draw_image(2))
    assert sorted(os.listdir(out)) == ["data.mdb", "sjft.json", "sjft_labels.npy", "sjft_sides.npy"]


def test_list_with_root_and_class_names(tmp_path):
    write_files(tmp_path / "root", {"a.jpg": encode(draw_image(1))})
    (tmp_path / "list.txt").write_text("a.jpg 1\n")
    (tmp_path / "names.txt").write_text("rose\nGänseblümchen 菊\n\n", encoding="utf-8")
    options = ("--root", tmp_path / "root", "--class-names", tmp_path / "names.txt")
    run_sjft("convert", "list", tmp_path / "list.txt", tmp_path / "out", *options)
    assert ImageLmdb(str(tmp_path / "out")).class_names == ["rose", "Gänseblümchen 菊"]


def test_folder(tree, tmp_path):
    out = tmp_path / "out"
    printed = run_sjft("convert", "folder", tree, out)
    assert "left out 1 files" in printed and "Thumbs.db" in printed
    stored = [d.data for _, d in datums(out)]
    names = ("b rose/10.JPG", "b rose/2.jpg", "b rose/deep/er.png", "ä daisy/1.jpeg")
    assert stored == [(tree / name).read_bytes() for name in names]
    images = ImageLmdb(str(out))
    assert images.class_names == ["b rose", "ä daisy"]
    assert images.labels.tolist() == [0, 0, 0, 1]


def test_a_folder_above_that_of_the_classes(tree, tmp_path):
    (tmp_path / "above").mkdir()
    tree.rename(tmp_path / "above" / "train")
    printed = run_sjft("convert", "folder", "above", "out", cwd=tmp_path)
    assert "no image lies in its class's folder itself, but deeper, as above/train/" in printed
    assert "does: the classes are train\n" in printed
    printed = run_sjft("convert", "folder", "./above//train/", "out", "--force", cwd=tmp_path)
    assert "deeper" not in printed


def test_folders_within_a_class_may_be_links(tree, tmp_path):
    (tree / "__MACOSX").mkdir()  # what a Mac's zip leaves is no class
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "5.jpg").write_bytes(encode(draw_image(5)))
    (tmp_path / "more" / "back").symlink_to(tree / "ä daisy")  # in a circle
    (tree / "ä daisy" / "0").symlink_to(tmp_path / "more")
    run_sjft("convert", "folder", tree, tmp_path / "out")
    stored = [d.data for _, d in datums(tmp_path / "out")]
    names = ("b rose/10.JPG", "b rose/2.jpg", "b rose/deep/er.png", "ä daisy/1.jpeg")
    assert stored == [(tree / name).read_bytes() for name in (*names, "ä daisy/0/5.jpg")]
    assert ImageLmdb(str(tmp_path / "out")).class_names == ["b rose", "ä daisy"]


def test_folder_with_class_names_keeps_labels_for_a_part_of_the_classes(tree, tmp_path):
    (tmp_path / "names.txt").write_text("a tulip\nb rose\nä daisy\n", encoding="utf-8")
    options = ("--class-names", tmp_path / "names.txt")
    printed = run_sjft("convert", "folder", tree, tmp_path / "out", *options)
    assert "class 0 (a tulip) has no images" in printed
    images = ImageLmdb(str(tmp_path / "out"))
    assert images.labels.tolist() == [1, 1, 1, 2]
    assert images.class_names == ["a tulip", "b rose", "ä daisy"]


def test_a_folder_whose_name_is_not_utf8(tmp_path):
    folder = os.fsencode(tmp_path) + b"/photos/caf\xe9"
    os.makedirs(folder)
    Path(os.fsdecode(folder), "1.jpg").write_bytes(encode(draw_image(1)))
    run_sjft("convert", "folder", tmp_path / "photos", tmp_path / "out")
    assert ImageLmdb(str(tmp_path / "out")).class_names == ["caf\ufffd"]


def test_lmdbs_behind_one_another(tmp_path, make_lmdb):
    first, second = make_lmdb("a", 5), make_lmdb("b", 4, classes=2, seed=1)
    grey = draw_image(7)[:, :, 0]
    raw = Datum(channels=1, height=40, width=48, data=grey.tobytes(), label=3)
    with lmdb.open(str(tmp_path / "c")) as env, env.begin(write=True) as transaction:
        transaction.put(b"some key", raw.SerializeToString())
    run_sjft("index", tmp_path / "c")
    out = tmp_path / "out"
    run_sjft("convert", "joined", first, second, tmp_path / "c", second, out)
    stored = [datum.data for _, datum in datums(out)]
    assert stored[:5] == [datum.data for _, datum in datums(Path(first))]
    assert stored[5:9] == stored[10:] == [datum.data for _, datum in datums(Path(second))]
    images = ImageLmdb(str(out))
    assert images.labels.tolist() == [0, 1, 2, 0, 1, 3, 4, 3, 4, 8, 9, 10, 9, 10]
    names = [f"class {i}" for i in (0, 1, 2, 0, 1)]
    assert images.class_names == [*names, "", "", "", "", "class 0", "class 1"]
    assert (images.image(9) == grey[:, :, None]).all()
    printed = run_sjft("convert", "joined", first, tmp_path / "no", tmp_path / "x", status=2)
    assert "sjft convert: error: " in printed and "no" in printed


def test_shuffle(tmp_path):
    write_files(tmp_path, {f"{i}.png": encode(draw_image(i), ".png") for i in range(20)})
    (tmp_path / "list.txt").write_text("".join(f"{i}.png {i}\n" for i in range(20)))
    orders = []
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_sjft("convert", "list", tmp_path / "list.txt", tmp_path / out, "--shuffle", seed)
        images = ImageLmdb(str(tmp_path / out))
        orders.append(images.labels.tolist())
        for i in range(20):
            np.testing.assert_array_equal(images.image(i), draw_image(int(images.labels[i])))
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(20)) != orders[0]


# ---- sizes and formats


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (("--resize", 32), (32, 32)),
        (("--resize-shorter", 20), (20, 24)),
        (("--resize-shorter", 60), (60, 72)),
    ],
)
def test_resizing(tmp_path, options, shape):
    original = draw_image(1)
    write_files(tmp_path, {"a.jpg": encode(original), "b.png": encode(original, ".png")})
    (tmp_path / "list.txt").write_text("a.jpg 0\nb.png 1\n")
    run_sjft("convert", "list", tmp_path / "list.txt", tmp_path / "out", *options)
    (_, jpeg), (_, png) = datums(tmp_path / "out")
    assert jpeg.data.startswith(b"\xff\xd8") and png.data.startswith(b"\x89PNG")
    assert (jpeg.height, jpeg.width) == (png.height, png.width) == shape
    method = cv2.INTER_AREA if shape[0] < 40 else cv2.INTER_LINEAR
    expected = cv2.resize(original, shape[::-1], interpolation=method)
    np.testing.assert_array_equal(decode_image(png.data, "png"), expected)
    expected = cv2.resize(decode_image(encode(original), ""), shape[::-1], interpolation=method)
    assert jpeg.data == encode(expected, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95)


def test_an_image_of_the_wanted_size_keeps_its_bytes():
    jpeg = encode(draw_image(1))
    assert stored_image(jpeg, "x", Storage(None, 40, 95)).content == jpeg
    assert stored_image(jpeg, "x", Storage(None, 41, 95)).content != jpeg


def test_quality():
    jpeg = encode(draw_image(1))
    sizes = [len(stored_image(jpeg, "x", Storage(30, None, q)).content) for q in (50, 95)]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("ending", [".bmp", ".tiff", ".webp"])
def test_other_formats_become_png_without_loss(ending):
    content = encode(draw_image(1), ending)
    stored = stored_image(content, "x", KEEP)
    assert stored.content.startswith(b"\x89PNG")
    pixels = decode_image(stored.content, "x")
    np.testing.assert_array_equal(pixels, decode_image(content, "x"))


def test_grey_alpha_and_16_bit():
    grey = draw_image(1)[:, :, 0]
    alpha = np.dstack([draw_image(1), grey])
    for image in (grey, alpha, grey.astype(np.uint16) * 257):
        stored = stored_image(encode(image, ".png"), "x", Storage(None, 20, 95))
        assert (stored.height, stored.width) == (20, 24)
        assert decode_image(stored.content, "x").shape == (20, 24, 3)


def test_an_odd_aspect_ratio_never_loses_a_side():
    stored = stored_image(encode(np.zeros((1, 300, 3), np.uint8), ".png"), "x", KEEP)
    assert (stored.height, stored.width) == (1, 300)
    stored = stored_image(stored.content, "x", Storage(None, 2, 95))
    assert (stored.height, stored.width) == (2, 600)


# ---- as Caffe reads it


NATIVE_NET = """
layer {{
  name: "data" type: "Data" top: "data" top: "label"
  data_param {{ source: "{path}" batch_size: 4 backend: LMDB }}
  transform_param {{ force_color: true }}
}}
"""


def test_caffes_native_data_layer_reads_it(tmp_path):
    images = [draw_image(i) for i in range(3)]
    grey = draw_image(9)[:, :, 0]
    write_files(tmp_path, {f"{i}.jpg": encode(image) for i, image in enumerate(images)})
    write_files(tmp_path, {"grey.png": encode(grey, ".png")})
    (tmp_path / "list.txt").write_text("0.jpg 4\n1.jpg 0\n2.jpg 2\ngrey.png 1\n")
    out = tmp_path / "out"
    run_sjft("convert", "list", tmp_path / "list.txt", out)
    net_file = tmp_path / "net.prototxt"
    net_file.write_text(NATIVE_NET.format(path=out))
    net = caffe.Net(str(net_file), caffe.TEST)
    net.forward()
    assert net.blobs["label"].data.tolist() == [4, 0, 2, 1]
    ours = ImageLmdb(str(out))
    stacked = np.stack([ours.image(i).transpose(2, 0, 1) for i in range(4)])
    np.testing.assert_array_equal(net.blobs["data"].data[3], stacked[3])
    # two JPEG decoders may differ by a rounding
    assert np.abs(net.blobs["data"].data - stacked).max() <= 3
