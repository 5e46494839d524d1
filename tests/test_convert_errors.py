"""sjft convert: images that are none, bad lists, options and outputs."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import draw_image, run_sjft
from converting import datums, debris, encode, side_file, write_files, write_photos
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.images import decode_image
from sjft.messages import Datum
from sjft_tools.image_files import check_complete
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_photos(tmp_path)


# ---- images that are none


JPEGS = {
    "baseline": (),
    "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restart": (cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_every_truncation_of_a_jpeg_is_seen(options):
    content = encode(draw_image(1), ".jpg", *options)
    check_complete(content, "x")
    check_complete(content + b"trailing bytes", "x")
    for length in range(3, len(content)):
        with pytest.raises(InputError, match=r"^x cannot be decoded: the file is truncated"):
            check_complete(content[:length], "x")


def test_a_thumbnail_inside_does_not_stand_for_the_image():
    thumbnail = encode(draw_image(2, 8, 8))
    content = encode(draw_image(1))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    content = content[:2] + segment + content[2:]
    check_complete(content, "x")
    with pytest.raises(InputError, match="truncated"):
        check_complete(content[: len(segment) + 300], "x")


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_bytes_between_segments_which_decoders_pass_over_are_no_damage(options):
    content = encode(draw_image(1), ".jpg", *options)
    behind_first = 4 + int.from_bytes(content[4:6], "big")
    before_last = len(content) - 2
    for place in (behind_first, before_last):
        padded = content[:place] + b"\0padding\xff\0" + content[place:]
        np.testing.assert_array_equal(decode_image(padded, "x"), decode_image(content, "x"))
        check_complete(padded, "x")
        with pytest.raises(InputError, match="truncated"):
            check_complete(padded[:-2], "x")


def test_every_truncation_and_damage_of_a_png_is_seen():
    content = encode(draw_image(1), ".png")
    check_complete(content, "x")
    for length in range(8, len(content)):
        with pytest.raises(InputError, match="truncated"):
            check_complete(content[:length], "x")
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    with pytest.raises(InputError, match="truncated or damaged"):
        check_complete(bytes(damaged), "x")


BAD_FILES = {
    "empty": b"",
    "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "cut": encode(draw_image(1))[:-200],
    "header": encode(draw_image(1))[:2],
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_image_ends_the_run_and_is_named(tmp_path, content):
    write_files(tmp_path, {"ok.jpg": encode(draw_image(1)), "bad one.jpg": content})
    (tmp_path / "list.txt").write_text("ok.jpg 0\nbad one.jpg 1\n")
    printed = run_sjft("convert", "list", tmp_path / "list.txt", tmp_path / "out", status=2)
    assert f"sjft convert: error: {tmp_path}/bad one.jpg cannot be decoded" in printed
    assert not (tmp_path / "out").exists() and not debris(tmp_path)


def test_a_gif_under_another_name_is_stored_without_loss(tmp_path):
    done, gif = (
        cv2.imencode(".gif", np.full((9, 9, 3), 255, np.uint8))
        if cv2.haveImageWriter("x.gif")
        else (False, None)
    )
    if not done:
        pytest.skip("this OpenCV writes no GIF")
    write_files(tmp_path, {"a.jpg": gif.tobytes()})
    (tmp_path / "list.txt").write_text("a.jpg 0\n")
    run_sjft("convert", "list", tmp_path / "list.txt", tmp_path / "out")
    assert datums(tmp_path / "out")[0][1].data.startswith(b"\x89PNG")
    decoded = decode_image(gif.tobytes(), "x")
    np.testing.assert_array_equal(ImageLmdb(str(tmp_path / "out")).image(0), decoded)


def test_bad_images_are_skipped_and_counted(tmp_path):
    write_files(tmp_path, {f"{name}.jpg": content for name, content in BAD_FILES.items()})
    write_files(tmp_path, {"ok.jpg": encode(draw_image(1))})
    names = [*BAD_FILES, "ok", "missing"]
    (tmp_path / "list.txt").write_text("".join(f"{n}.jpg {i}\n" for i, n in enumerate(names)))
    out = tmp_path / "out"
    printed = run_sjft("convert", "list", tmp_path / "list.txt", out, "--on-bad", "skip")
    assert "wrote 1 images, 1 classes (labels 4 to 4)" in printed
    assert "left out 5 unreadable ones" in printed
    for name in (*BAD_FILES, "missing"):
        assert f"left out: {tmp_path}/{name}.jpg cannot be" in printed
    assert side_file(out)["left_out"] == 5
    assert side_file(out)["count"] == len(datums(out)) == 1


def test_records_that_are_none_are_named_and_skipped(tmp_path):
    bad, out = tmp_path / "bad", tmp_path / "out"
    with ImageLmdbWriter(str(bad)) as writer:
        writer.add(b"no record", 1)
        writer.add(encoded_datum(encode(draw_image(1)), 2), 2)
        short = Datum(channels=1, height=2, width=2, data=b"...", label=3)
        writer.add(short.SerializeToString(), 3)
    printed = run_sjft("convert", "joined", bad, out, status=2)
    assert f"error: record 0 of {bad} is not a Caffe Datum record" in printed
    printed = run_sjft("convert", "joined", bad, out, "--on-bad", "skip")
    assert "left out 2 unreadable ones" in printed
    assert ImageLmdb(str(out)).labels.tolist() == [2]


def test_skipping_gives_up_where_nothing_can_be_read(tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"{i}.jpg 0\n" for i in range(300)))
    options = ("--on-bad", "skip")
    out = tmp_path / "out"
    printed = run_sjft("convert", "list", tmp_path / "list.txt", out, *options, status=2)
    assert "error: none of the first 100 images can be read" in printed
    assert "99.jpg cannot be read: No such file or directory" in printed
    assert not out.exists() and not debris(tmp_path)


# ---- errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list {list} is empty: expected one 'path label' a line"),
        ("\n \n", "the list {list} is empty"),
        ("a.jpg 0\na.jpg -1\n", "line 2 of {list} has the label -1: expected an integer from 0"),
        ("a.jpg 0\n\na.jpg cat\n", "line 3 of {list} has the label 'cat': expected an integer"),
        ("a.jpg 1.0\n", "line 1 of {list} has the label '1.0'"),
        ("a.jpg 1_0\n", "line 1 of {list} has the label '1_0'"),
        ("a.jpg ٣\n", "line 1 of {list} has the label '٣'"),
        ("a.jpg 2147483648\n", "line 1 of {list} has the label 2147483648"),
        ("a.jpg " + "1" * 5000, "line 1 of {list} has the label '1111111111"),
        ("a\0.jpg 1\n", "line 1 of {list} has a zero byte in its path"),
        ("a.jpg\n", "line 1 of {list} is 'a.jpg': expected a path, a space and a label"),
        ("b.jpg 0\n", "b.jpg cannot be read: No such file or directory"),
        (". 0\n", "/. cannot be read: Is a directory"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    write_files(tmp_path, {"a.jpg": encode(draw_image(1))})
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="utf-8")
    printed = run_sjft("convert", "list", path, tmp_path / "out", status=2)
    assert "sjft convert: error: " in printed and message.format(list=path) in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists() and not debris(tmp_path)


def test_missing_inputs(tmp_path, tree):
    (tmp_path / "list.txt").write_text("a.jpg 3\n")
    (tmp_path / "names.txt").write_text("rose\n")
    (tmp_path / "none.txt").write_text("\n")
    (tmp_path / "gap.txt").write_text("rose\n\ndaisy\n")
    write_files(tmp_path / "no images", {"a/readme.txt": b""})
    (tmp_path / "empty").mkdir()
    out, list_txt, names = tmp_path / "out", tmp_path / "list.txt", "--class-names"
    cases = [
        (("list", tmp_path / "no.txt", out), "no.txt cannot be read: No such file or directory"),
        (("list", list_txt, out, "--root", tmp_path / "no"), "no does not exist"),
        (("list", list_txt, out, names, tmp_path / "no.txt"), "the class names"),
        (("list", list_txt, out, names, tmp_path / "none.txt"), "none.txt is empty"),
        (("list", list_txt, out, names, tmp_path / "gap.txt"), "line 2 of"),
        (("list", list_txt, out, names, tmp_path / "names.txt"), "but the label 3 occurs"),
        (("folder", tmp_path / "no", out), "no does not exist"),
        (("folder", tmp_path / "empty", out), "holds no folders: expected one folder per class"),
        (("folder", tmp_path / "no images", out), "hold no images"),
        (("folder", tree, out, names, tmp_path / "names.txt"), "does not name the folder 'b rose'"),
        (("folder", tree, tree / "out"), "lies in"),
        (("folder", tree, tmp_path / "nowhere" / "out"), "nowhere for the output does not exist"),
    ]
    for arguments, message in cases:
        printed = run_sjft("convert", *arguments, status=2)
        assert "sjft convert: error: " in printed and message in printed
        assert "Traceback" not in printed
    assert not out.exists() and not debris(tmp_path)


def test_an_image_that_would_become_too_large(tmp_path):
    write_files(tmp_path, {"a.jpg": encode(draw_image(1, 1, 50))})
    (tmp_path / "list.txt").write_text("a.jpg 0\n")
    for side, width in ((1400, 70_000), (10**7, 5 * 10**8), (10**8, 5 * 10**9)):
        arguments = ("convert", "list", tmp_path / "list.txt", tmp_path / "out")
        printed = run_sjft(*arguments, "--resize-shorter", side, status=2)
        assert f"a.jpg cannot be stored at {width} x {side} pixels: expected a smaller" in printed
        assert "Traceback" not in printed
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "list.txt"]


def test_class_names_that_are_no_folders_of_classes(tmp_path, tree):
    names, out = tmp_path / "names.txt", tmp_path / "out"
    folders = "b rose\nä daisy"
    names.write_text(f"{folders}\nasters\n..\n{tree}\n")
    run_sjft("convert", "folder", tree, tmp_path / "plain")
    run_sjft("convert", "folder", tree, out, "--class-names", names)
    assert side_file(out)["fingerprint"] == side_file(tmp_path / "plain")["fingerprint"]
    names.write_text(f"{folders}\nasters\nasters\n")
    arguments = ("convert", "folder", tree, out, "--force", "--class-names", names)
    printed = run_sjft(*arguments, status=2)
    assert f"{names} names 'asters' for the labels 2 and 3: expected each folder once" in printed


def test_bad_options(tmp_path, tree):
    for options, message in (
        (("--resize", 0), "expected an integer >= 1, got '0'"),
        (("--resize", 8, "--resize-shorter", 8), "not allowed with argument"),
        (("--quality", 0), "invalid choice"),
        (("--on-bad", "ignore"), "invalid choice"),
    ):
        printed = run_sjft("convert", "folder", tree, tmp_path / "out", *options, status=2)
        assert message in printed
    assert "error: the following arguments are required: form" in run_sjft("convert", status=2)


def test_an_output_that_exists(tmp_path, tree):
    out = tmp_path / "out"
    run_sjft("convert", "folder", tree, out)
    before = side_file(out)["fingerprint"]
    printed = run_sjft("convert", "folder", tree, out, "--resize", 8, status=2)
    assert f"the output {out} exists: give --force to replace it" in printed
    assert side_file(out)["fingerprint"] == before
    run_sjft("convert", "folder", tree, f"{out}/", "--resize", 8, "--force")
    assert side_file(out)["fingerprint"] != before
    assert not debris(tmp_path)


def test_an_output_whose_name_is_not_utf8(tmp_path, tree):
    printed = run_sjft("convert", "folder", tree, os.fsdecode(bytes(tmp_path) + b"/\xff"), status=2)
    assert "has a name that is not UTF-8: expected another" in printed
    assert not debris(tmp_path)


def test_force_replaces_nothing_but_an_lmdb(tmp_path, tree):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    printed = run_sjft("convert", "folder", tree, tmp_path / "home", "--force", status=2)
    assert "is a folder that holds 'thesis.tex': --force replaces only an LMDB" in printed
    assert (tmp_path / "home" / "thesis.tex").exists()
    printed = run_sjft("convert", "folder", tree, tmp_path / "file", "--force", status=2)
    assert "exists and is not a folder" in printed
    assert (tmp_path / "file").read_text() == "x"
    run_sjft("convert", "folder", tree, tmp_path / "out")
    (tmp_path / "out" / ".sjft.json.lock").touch()  # as a killed 'sjft index' leaves it
    run_sjft("convert", "folder", tree, tmp_path / "out", "--force")
    assert not (tmp_path / "out" / ".sjft.json.lock").exists()
