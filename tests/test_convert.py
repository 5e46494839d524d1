"""sjft convert, and the LMDBs it writes as the native Data layer sees them."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

from conftest import draw_image, run_sjft
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft.images import decode_image
from sjft.messages import Datum
from sjft_tools.image_files import Storage, check_complete, stored_image

KEEP = Storage(None, None, 95)


def encode(image: np.ndarray, ending: str = ".jpg", *options: int) -> bytes:
    return cv2.imencode(ending, image, options)[1].tobytes()


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def datums(path: Path) -> list[tuple[bytes, object]]:
    """The records as py-lmdb alone reads them."""
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return [(bytes(key), Datum.FromString(value)) for key, value in transaction.cursor()]


def side_file(path: Path) -> dict:
    return json.loads((path / "sjft.json").read_text(encoding="utf-8"))


def debris(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes and some files that are no images."""
    return write_files(
        tmp_path / "photos",
        {
            "b rose/2.jpg": encode(draw_image(1)),
            "b rose/10.JPG": encode(draw_image(2)),
            "b rose/deep/er.png": encode(draw_image(3), ".png"),
            "b rose/.hidden.jpg": b"",
            "b rose/Thumbs.db": b"x",
            "ä daisy/1.jpeg": encode(draw_image(4)),
            ".git/x.jpg": b"",
            "readme.txt": b"hello",
        },
    )


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
    assert sorted(os.listdir(out)) == ["data.mdb", "sjft.json", "sjft_labels.npy"]


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


# ---- interruptions


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A list long enough to be interrupted in the middle."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 300, 3), np.uint8)
    write_files(tmp_path, {"noise.png": encode(noise, ".png"), "a.png": encode(noise[:9], ".png")})
    path = tmp_path / "list.txt"
    path.write_text("noise.png 0\n" * 3000)
    return path


def start(*arguments: object, **keywords: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "sjft_tools.cli", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **keywords)


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("whom", ["process", "group"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_in_the_middle(tmp_path, many, number, whom):
    out = tmp_path / "out"
    process = start("convert", "list", many, out, "--workers", 2, start_new_session=True)
    wait_for(tmp_path / ".out.work" / "output" / "data.mdb")
    time.sleep(random.Random(f"{number} {whom}").uniform(0.0, 0.5))
    (os.killpg if whom == "group" else os.kill)(process.pid, number)
    printed = process.communicate(timeout=60)[1]
    with pytest.raises(ProcessLookupError):  # the workers have gone, too
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    assert not out.exists()
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "sjft convert: error: interrupted; nothing was left half-written" in printed
        kept = "images are kept: the same command goes on from there" in printed
        assert debris(tmp_path) == [".out.work"] * kept
        assert "Traceback" not in printed
    many.write_text("a.png 0\n")  # another conversion: it starts afresh
    run_sjft("convert", "list", many, out)
    assert ImageLmdb(str(out)).count == 1
    assert not debris(tmp_path)


def test_killed_again_and_again_it_ends_as_the_same_file(tmp_path, many):
    lines = ["noise.png 0\n", "missing.png 1\n", "a.png 2\n", *["noise.png 3\n"] * 60] * 6
    many.write_text("".join(lines))
    arguments = ("convert", "list", many, tmp_path / "out", "--on-bad", "skip")
    straight = tmp_path / "straight"
    run_sjft(*arguments[:3], straight, *arguments[4:], "--workers", 1)
    database = tmp_path / ".out.work" / "output" / "data.mdb"
    going_on, size, draw = "", 0, random.Random(1)
    for attempt in range(20):
        process = start(*arguments, "--workers", 1 + attempt % 3)
        # until it got somewhere
        while process.poll() is None and not (database.exists() and database.stat().st_size > size):
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.3))
        process.kill()
        going_on += process.communicate(timeout=60)[1]
        if (tmp_path / "out").exists():
            break
        assert process.returncode == -signal.SIGKILL
        size = database.stat().st_size
    assert "read what is there" in going_on
    assert side_file(tmp_path / "out")["left_out"] == 6
    for name in os.listdir(straight):
        assert (straight / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


def test_a_bad_image_late_in_the_list_costs_nothing(tmp_path, many):
    many.write_text("noise.png 0\n" * 150 + "late.png 1\n")
    arguments = ("convert", "list", many, tmp_path / "out")
    printed = run_sjft(*arguments, status=2)
    assert "late.png cannot be read: No such file or directory" in printed
    assert "images are kept: the same command goes on from there" in printed
    shutil.copy(tmp_path / "a.png", tmp_path / "late.png")
    assert "read what is there" in run_sjft(*arguments)
    assert ImageLmdb(str(tmp_path / "out")).labels.tolist() == [0] * 150 + [1]
    assert not debris(tmp_path)


def test_what_was_left_out_counts_again_without_leave_to(tmp_path, many):
    many.write_text("late.png 1\n" + "noise.png 0\n" * 3000)
    process = start("convert", "list", many, tmp_path / "out", "--on-bad", "skip")
    wait_for(tmp_path / ".out.work" / "output" / "data.mdb")
    while (tmp_path / ".out.work" / "output" / "data.mdb").stat().st_size < 32 << 20:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert "are kept" in process.communicate(timeout=60)[1]
    printed = run_sjft("convert", "list", many, tmp_path / "out", status=2)
    assert "late.png cannot be read" in printed and "are kept" not in printed
    assert not debris(tmp_path)


def test_two_runs_do_not_write_the_same_output(tmp_path, many):
    out = tmp_path / "out"
    process = start("convert", "list", many, out)
    wait_for(tmp_path / ".out.work" / "output" / "data.mdb")
    printed = run_sjft("convert", "list", many, out, status=2)
    assert f"another run is writing {out}: wait for it to end" in printed
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_a_worker_that_dies(tmp_path, many):
    process = start("convert", "list", many, tmp_path / "out", "--workers", 2)
    wait_for(tmp_path / ".out.work" / "output" / "data.mdb")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    victims: list[str] = []
    while not victims:
        assert process.poll() is None
        commands = {
            c: Path(f"/proc/{c}/cmdline").read_bytes() for c in children.read_text().split()
        }
        victims = [child for child, command in commands.items() if b"spawn_main" in command]
        time.sleep(0.01)
    os.kill(int(victims[-1]), signal.SIGKILL)
    printed = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "one of the 2 worker processes died" in printed and "Traceback" not in printed
    assert not (tmp_path / "out").exists()


def test_a_full_disk(tmp_path, many):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs leave to mount a small file system")
    try:
        for lines, fill in ((3000, 0), (8, 0), (1, 990_000)):
            (disk / "fill").write_bytes(b"x" * fill)
            many.write_text("noise.png 0\n" * lines)
            printed = run_sjft("convert", "list", many, disk / "out", status=1)
            assert "sjft convert: error: No space left on device" in printed
            assert "Traceback" not in printed
            assert os.listdir(disk) == ["fill"]
        (disk / "fill").unlink()
        run_sjft("convert", "list", many, disk / "out")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_limit_on_file_size(tmp_path, many):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    process = start("convert", "list", many, tmp_path / "out", preexec_fn=limit)
    printed = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "sjft convert: error: " in printed and "expected room and leave" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists() and not debris(tmp_path)


def test_the_map_grows(tmp_path, many):
    many.write_text("noise.png 1\n" * 400)  # 108 MB, the first map has 64
    run_sjft("convert", "list", many, tmp_path / "out")
    images = ImageLmdb(str(tmp_path / "out"))
    assert images.count == 400
    assert all(value == images.value(0) for value in images.values())


# ---- as Caffe reads it


NATIVE_NET = """
layer {{
  name: "data" type: "Data" top: "data" top: "label"
  data_param {{ source: "{path}" batch_size: 4 backend: LMDB }}
  transform_param {{ force_color: true }}
}}
"""


def test_caffes_native_data_layer_reads_it(tmp_path):
    caffe = pytest.importorskip("caffe")
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
