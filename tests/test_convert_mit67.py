"""sjft convert from MIT Indoor 67: all images of the official lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import run_sjft
from published_sets import numbers_in, picture, read_form, tar_bytes
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb


@pytest.fixture(scope="module")
def indoor(shared_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("indoor")
    paths = []
    for name in ("TrainImages.txt", "TestImages.txt"):
        text = (shared_data / "meta" / "mit67" / name).read_text()
        (folder / name).write_text(text)
        paths += text.split("\n")
    files = [(f"Images/{path}", picture(i)) for i, path in enumerate(paths)]
    (folder / "indoorCVPR_09.tar").write_bytes(tar_bytes(files))
    return folder


def test_mit67(indoor, tmp_path):
    out = tmp_path / "out"
    printed = run_sjft("convert", "mit67", indoor, out, "--split", "train")
    assert "wrote 5360 images, 67 classes (labels 0 to 66)" in printed
    assert numbers_in(out) == list(range(5360))
    test = tmp_path / "test"
    printed = run_sjft("convert", "mit67", indoor, test, "--split", "test")
    assert "wrote 1340 images, 67 classes (labels 0 to 66)" in printed
    assert numbers_in(test) == list(range(5360, 6700))
    images = ImageLmdb(str(out))
    assert images.class_names == ImageLmdb(str(test)).class_names == sorted(images.class_names)
    first = (indoor / "TrainImages.txt").read_text().split("/")[0]
    assert images.class_names[images.labels[0]] == first


def test_mit67_with_other_spellings_and_a_missing_image(indoor, tmp_path, capfd):
    lists = ("TrainImages.txt", "TestImages.txt")
    for name in lists:
        (tmp_path / name).symlink_to(indoor / name)
    paths = [line for name in lists for line in (indoor / name).read_text().split("\n")]
    respelt = paths[0].upper()
    files = [(f"Images/{path}", picture(0)) for path in [respelt, *paths[2:]]]
    (tmp_path / "indoorCVPR_09.tar").write_bytes(tar_bytes(files))
    with pytest.raises(InputError, match=f"lacks 1 of the 5,360 .* the first {paths[1]}"):
        read_form("mit67", tmp_path, "--split", "train")
    printed = capfd.readouterr().err
    assert f"differs from the file's name in the case of letters: {paths[0]}" in printed
    assert f"missing: {paths[1]}" in printed
    images = read_form("mit67", tmp_path, "--split", "train", "--incomplete")
    assert len(images.entries) == 5359
    assert images.entries[0].path.endswith(f"/Images/{respelt}")
