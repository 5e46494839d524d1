"""sjft convert from the published source sets; what all sets become, as training takes it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from conftest import run_sjft
from converting import side_file
from published_sets import (
    cells,
    convert_form,
    devkit_meta,
    mat_bytes,
    numbers_in,
    picture,
    read_form,
    record_count,
    tar_bytes,
    write_tree,
    write_zip,
)
from sjft.errors import InputError
from sjft.image_lmdb import ImageLmdb
from sjft_tools.checks.report import Report
from sjft_tools.checks.solver import check_solver

# ---- ImageNet, small

WNIDS = ["n01440764", "n01443537", "n01484850"]
#: in the order of ILSVRC2012_ID, which is not that of the WordNet ids
BY_ID = [WNIDS[2], WNIDS[0], WNIDS[1]]
WORDS = {WNIDS[0]: "tench, Tinca tinca", WNIDS[1]: "goldfish", WNIDS[2]: "great white shark"}
TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def devkit(ids: list[int]) -> list[tuple[str, bytes]]:
    top = "ILSVRC2012_devkit_t12/data"
    return [
        (f"{top}/meta.mat", devkit_meta(BY_ID, [WORDS[wnid] for wnid in BY_ID])),
        (f"{top}/{TRUTH}", "".join(f"{i}\n" for i in ids).encode()),
    ]


def val_images(count: int) -> list[tuple[str, bytes]]:
    return [(f"ILSVRC2012_val_{i:08d}.JPEG", picture(i)) for i in range(1, count + 1)]


@pytest.fixture
def imagenet(tmp_path) -> Path:
    folder = tmp_path / "imagenet"
    inner = []
    for label in (2, 0, 1):  # in no order
        files = [(f"{WNIDS[label]}_{i}.JPEG", picture(10 * label + i)) for i in (2, 1)]
        inner.append((f"{WNIDS[label]}.tar", tar_bytes(files)))
    write_tree(
        folder,
        [
            ("ILSVRC2012_img_train.tar", tar_bytes(inner)),
            ("ILSVRC2012_img_val.tar", tar_bytes(val_images(4))),
            ("ILSVRC2012_devkit_t12.tar.gz", tar_bytes(devkit([1, 2, 3, 1]), "w:gz")),
        ],
    )
    return folder


def test_imagenet_train_from_tars_in_a_tar(imagenet, tmp_path):
    arguments = ("convert", "imagenet", imagenet, tmp_path / "out", "--split", "train")
    printed = run_sjft(*arguments, "--incomplete")
    assert "found 3 synsets, published are 1,000" in printed
    assert "found 6 images in" in printed and "published are 1,281,167" in printed
    assert numbers_in(tmp_path / "out") == [1, 2, 11, 12, 21, 22]
    images = ImageLmdb(str(tmp_path / "out"))
    assert images.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert images.class_names == [WORDS[wnid] for wnid in WNIDS]
    assert "found 3 synsets, published are 1,000: expected all" in run_sjft(
        *arguments, "--force", status=2
    )


def test_imagenet_labels_from_the_development_kit(imagenet, tmp_path):
    arguments = ("convert", "imagenet", imagenet, tmp_path / "out", "--split", "val")
    run_sjft(*arguments, "--incomplete")
    assert numbers_in(tmp_path / "out") == [1, 2, 3, 4]
    # ILSVRC2012_ID 1 is n01484850, which comes third by WordNet id
    assert ImageLmdb(str(tmp_path / "out")).labels.tolist() == [2, 0, 1, 2]


def test_imagenet_labels_from_val_txt_and_from_folders(imagenet):
    (imagenet / "synsets.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    lines = [f"ILSVRC2012_val_{i:08d}.JPEG {label}\n" for i, label in ((1, 2), (2, 0), (3, 1))]
    options = ("--split", "val", "--incomplete")
    (imagenet / "caffe_ilsvrc12.tar.gz").write_bytes(
        tar_bytes([("val.txt", "".join(lines).encode())], "w:gz")
    )
    images = read_form("imagenet", imagenet, *options)
    assert [entry.label for entry in images.entries] == [2, 0, 1]
    assert images.class_names == WNIDS
    lines[0] = "ILSVRC2012_val_00000001.JPEG 3\n"
    (imagenet / "val.txt").write_text("".join(lines))
    with pytest.raises(InputError, match=r"line 1 of .*val.txt is .*, labels from 0 to 2"):
        read_form("imagenet", imagenet, *options)
    for name in os.listdir(imagenet):
        if name != "synsets.txt" and (imagenet / name).is_file():
            (imagenet / name).unlink()
    write_tree(imagenet / "val", val_images(2))
    with pytest.raises(InputError, match=r"nothing tells the labels of the images in .*val: "):
        read_form("imagenet", imagenet, *options)
    write_tree(imagenet / "val", [(f"{WNIDS[1]}/{name}", data) for name, data in val_images(2)])
    images = read_form("imagenet", imagenet, *options)
    assert [entry.label for entry in images.entries] == [1, 1]


def test_imagenet_without_a_list_of_synsets_wants_all(imagenet):
    (imagenet / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    options = ("--split", "train", "--incomplete")
    with pytest.raises(InputError, match=r"holds 3 of ImageNet's 1,000 synsets: expected all, or"):
        read_form("imagenet", imagenet, *options)
    (imagenet / "ILSVRC2012_img_train.tar").unlink()
    wnids = [f"n{1440764 + 977 * i:08d}" for i in range(1000)]
    write_tree(imagenet / "train", [(f"{w}/{w}_1.JPEG", picture(i)) for i, w in enumerate(wnids)])
    images = read_form("imagenet", imagenet, *options)
    assert [entry.label for entry in images.entries] == list(range(1000))
    assert images.class_names == wnids


def test_imagenet_names_the_synsets_that_lack_images(imagenet, capsys):
    """Known from the development kit, also where another file lists the synsets."""
    read_form("imagenet", imagenet, "--split", "train", "--incomplete")
    said = ", ".join(f"{wnid} 2 of 1,300" for wnid in WNIDS)
    assert f"synsets whose images are not as many as published: {said}\n" in capsys.readouterr().err
    for packed in imagenet.glob("*.tar*"):
        packed.unlink()
    wnids = [f"n{1440764 + 977 * i:08d}" for i in range(1000)]
    write_tree(imagenet / "train", [(f"{w}/{w}_1.JPEG", b"") for w in wnids])
    (imagenet / "synsets.txt").write_text("".join(f"{wnid}\n" for wnid in wnids))
    (imagenet / "meta.mat").write_bytes(devkit_meta(wnids, [""] * 1000, images=1))
    with pytest.raises(InputError, match=r"found 1,000 images in .*, published are 1,281,167"):
        read_form("imagenet", imagenet, "--split", "train")
    (imagenet / "train" / wnids[7] / f"{wnids[7]}_1.JPEG").unlink()
    (imagenet / "train" / wnids[999] / f"{wnids[999]}_2.JPEG").touch()
    with pytest.raises(
        InputError,
        match=f"not as many as published: {wnids[7]} 0 of 1, {wnids[999]} 2 of 1: expected all;",
    ):
        read_form("imagenet", imagenet, "--split", "train")
    for i in range(100, 120):
        (imagenet / "train" / wnids[i] / f"{wnids[i]}_1.JPEG").unlink()
    with pytest.raises(InputError, match=f"{wnids[108]} 0 of 1 and 12 synsets more: expected all"):
        read_form("imagenet", imagenet, "--split", "train")


def test_imagenet_validation_labels_in_another_order(imagenet):
    """The whole list is held against the labels of the first images that everybody knows."""
    (imagenet / "synsets.txt").write_text("".join(f"n{i:08d}\n" for i in range(1000)))
    names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, 50_001)]
    for first, message in (
        ([490, 361, 171, 822, 297], r"gives the first images the labels \[490, 361, 171, 822, 297"),
        ([65, 970, 230, 809, 516], r"lacks 49,996 of the 50,000 images that .*val.txt names"),
    ):
        labels = first + [0] * 49_995
        lines = (f"{name} {label}\n" for name, label in zip(names, labels))
        (imagenet / "val.txt").write_text("".join(lines))
        with pytest.raises(InputError, match=message):
            read_form("imagenet", imagenet, "--split", "val")


def test_bad_development_kits(imagenet):
    packed = imagenet / "ILSVRC2012_devkit_t12.tar.gz"
    options = ("imagenet", imagenet, "--split", "val", "--incomplete")
    cases = [
        (devkit([1, 2, 3, 4]), f"{TRUTH} holds 4 at position 4: expected integers 1 to 3"),
        (devkit([0, 1, 2, 3]), "holds 0 at position 1"),
        ([devkit([])[0], (TRUTH, b"1\ncat\n")], "does not hold a number a line"),
        ([("x/meta.mat", mat_bytes(synsets=np.ones(3)))], "is no struct with the fields"),
        ([("x/meta.mat", mat_bytes(words=np.ones(3)))], "holds words: expected the variable syn"),
    ]
    for files, message in cases:
        packed.write_bytes(tar_bytes(files, "w:gz"))
        with pytest.raises(InputError, match=message):
            read_form(*options)
    content = tar_bytes(devkit([1, 2, 3, 1]), "w:gz")
    packed.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        InputError, match=r"t12.tar.gz is truncated or damaged \(.*\): get it again"
    ):
        read_form(*options)


# ---- Tiny ImageNet, its whole validation set by the official annotations


@pytest.fixture(scope="module")
def tiny(shared_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    meta = shared_data / "meta" / "tiny_imagenet"
    wnids = (meta / "wnids.txt").read_text()
    words = "".join(f"{wnid}\tthing {wnid}, sort\n" for wnid in ["n00001740", *wnids.split()])
    top = "tiny-imagenet-200"
    files = [(f"{top}/val/images/val_{i}.JPEG", picture(i)) for i in range(10_000)]
    files += [(f"{top}/test/images/test_{i}.JPEG", picture(i)) for i in range(3)]
    files += [(f"{top}/train/{w}/images/{w}_0.JPEG", picture(0)) for w in wnids.split()]
    files += [(f"{top}/train/{w}/{w}_boxes.txt", b"") for w in wnids.split()]
    files.append((f"{top}/wnids.txt", wnids.encode()))
    files.append((f"{top}/words.txt", words.encode()))
    annotations = (meta / "val_annotations.txt").read_bytes()
    files.append((f"{top}/val/val_annotations.txt", annotations))
    write_zip(folder / "tiny-imagenet-200.zip", files)
    return folder


def test_tiny_imagenet(tiny, tmp_path, shared_data):
    out = tmp_path / "out"
    printed = run_sjft("convert", "tiny-imagenet", tiny, out, "--split", "val")
    assert "wrote 10000 images, 200 classes (labels 0 to 199)" in printed
    assert record_count(out) == 10_000 and numbers_in(out) == list(range(10_000))
    meta = shared_data / "meta" / "tiny_imagenet"
    order = sorted((meta / "wnids.txt").read_text().split())
    lines = (meta / "val_annotations.txt").read_text().splitlines()
    images = ImageLmdb(str(out))
    assert images.labels.tolist() == [order.index(line.split("\t")[1]) for line in lines]
    assert images.class_names[3] == f"thing {order[3]}, sort"
    with pytest.raises(InputError, match=r"found 200 images in .*, published are 100,000"):
        read_form("tiny-imagenet", tiny, "--split", "train")
    train = read_form("tiny-imagenet", tiny, "--split", "train", "--incomplete")
    assert [entry.label for entry in train.entries] == list(range(200))
    assert train.class_names == images.class_names


# ---- Places205, small


@pytest.fixture
def places(tmp_path) -> Path:
    folder = tmp_path / "places"
    top = "data/vision/torralba/deeplearning/images256"
    paths = ["a/abbey/gsun_1.jpg", "a/apartment_building/outdoor/gsun_2.jpg", "a/abbey/gsun_3.jpg"]
    files = [(f"{top}/{path}", picture(i)) for i, path in enumerate(paths)]
    text = f"{paths[1]} 1\n{paths[0]} 0\n{paths[2]} 0\n"
    lists = [("trainvalsplit_places205/train_places205.csv", text.encode())]
    write_tree(
        folder,
        [
            ("imagesPlaces205_resize.tar.gz", tar_bytes(files, "w:gz")),
            ("trainvalsplit_places205.tar.gz", tar_bytes(lists, "w:gz")),
        ],
    )
    return folder


def test_places205(places, tmp_path):
    out = tmp_path / "out"
    arguments = ("convert", "places205", places, out, "--split", "train")
    printed = run_sjft(*arguments, status=2)
    assert "found 3 images in" in printed and "published are 2,448,873: expected all" in printed
    printed = run_sjft(*arguments, "--incomplete")
    assert numbers_in(out) == [1, 0, 2]
    images = ImageLmdb(str(out))
    assert images.labels.tolist() == [1, 0, 0]
    assert images.class_names == ["abbey", "apartment_building/outdoor"]
    assert sorted(os.listdir(tmp_path)) == ["out", "places"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/abbey/gsun_1.jpg\n", "line 1 of .*train_places205.csv is .*: expected 'folder/image"),
        ("a/abbey/gsun_1.jpg 205\n", "labels from 0 to 204"),
        ("a/abbey/gsun_1.jpg 1\na/attic/gsun_2.jpg 1\n", "line 2 of .* gives the label 1 to a/att"),
        ("<!DOCTYPE html>\n<html>\n", "is a web page, perhaps an error's: expected the published"),
        ("a/abbey/gsun_9.jpg 0\n", "lacks 1 of the 1 images"),
    ],
)
def test_bad_lists_of_places(places, text, message):
    (places / "train_places205.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_form("places205", places, "--split", "train", "--incomplete")


# ---- as training takes them

SOLVER = """
net_param {{
  layer {{
    name: "data" type: "Python" top: "data" top: "label"
    python_param {{ module: "sjft.layers" layer: "TargetDataLayer" param_str: '{params}' }}
  }}
  layer {{
    name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
    inner_product_param {{ num_output: 1000 }}
  }}
  layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }}
}}
base_lr: 0.01 lr_policy: "fixed" max_iter: 1 solver_mode: CPU snapshot_prefix: "snapshot"
"""


def test_sjft_check_accepts_what_every_form_writes(tmp_path, monkeypatch, imagenet, places):
    monkeypatch.chdir(tmp_path)
    lists = mat_bytes(file_list=cells(["n1-a/a.jpg"]), labels=np.ones((1, 1)))
    flower_labels = mat_bytes(labels=np.array([[5, 6]], np.uint8))
    top = "tiny-imagenet-200"
    write_tree(
        tmp_path,
        [
            ("dogs/train_list.mat", lists),
            ("dogs/Images/n1-a/a.jpg", picture(0)),
            ("flowers/imagelabels.mat", flower_labels),
            ("flowers/setid.mat", mat_bytes(trnid=np.array([[2]], np.uint16))),
            ("flowers/jpg/image_00002.jpg", picture(2)),
            ("caltech/256_ObjectCategories/001.a b/001_0001.jpg", picture(1)),
            ("caltech/256_ObjectCategories/001.a b/001_0002.jpg", picture(2)),
            ("indoor/TrainImages.txt", b"bar/a b.jpg\n"),
            ("indoor/TestImages.txt", b"attic/c.jpg\n"),
            ("indoor/Images/bar/a b.jpg", picture(1)),
            (f"tiny/{top}/wnids.txt", WNIDS[0].encode()),
            (f"tiny/{top}/words.txt", f"{WNIDS[0]}\ttench".encode()),
            (f"tiny/{top}/train/{WNIDS[0]}/images/{WNIDS[0]}_0.JPEG", picture(1)),
        ],
    )
    forms = {
        "stanford-dogs": "dogs",
        "flowers102": "flowers",
        "caltech256": "caltech",
        "mit67": "indoor",
        "imagenet": "imagenet",
        "places205": "places",
        "tiny-imagenet": "tiny",
    }
    labels = {}
    for form, folder in forms.items():
        options = ["--split", "train", "--incomplete"]
        options += ["--per-class", "1"] if form == "caltech256" else []
        out = tmp_path / f"{form}_lmdb"
        convert_form(form, tmp_path / folder, out, *options)
        labels[form] = side_file(out)["class_names"][np.load(out / "sjft_labels.npy")[0]]
        params = {"target": str(out), "batch_size": 1, "crop": 4}
        solver = tmp_path / "solver.prototxt"
        solver.write_text(SOLVER.format(params=json.dumps(params)))
        report = Report()
        check_solver(report, str(solver))
        assert not report.failures
    assert labels == {
        "stanford-dogs": "a",
        "flowers102": "tiger lily",
        "caltech256": "a b",
        "mit67": "bar",
        "imagenet": WORDS[WNIDS[0]],
        "places205": "apartment_building/outdoor",
        "tiny-imagenet": "tench",
    }
