"""What sjft convert writes from every published set is what training takes."""

from __future__ import annotations

import json

import numpy as np

from converting import side_file
from published_sets import cells, convert_form, mat_bytes, picture, write_tree
from sjft_tools.checks.report import Report
from sjft_tools.checks.solver import check_solver
from source_sets import WNIDS, WORDS, write_imagenet, write_places

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


def test_sjft_check_accepts_what_every_form_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_imagenet(tmp_path / "imagenet")
    write_places(tmp_path / "places")
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
