"""Images smaller than the crop: found before training, where the LMDB tells how large they are."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from caffe_nets import write_solver
from conftest import draw_image, run_sjft, write_image_lmdb
from joint_world import SOURCES, TARGETS, World, make_world
from processes import run
from sjft.batches import JointBatches, TargetBatches
from sjft.errors import InputError
from sjft.image_lmdb import SIDES_FILE, ImageLmdb
from sjft.layer_params import parse_joint_data, parse_target_data

SMALL_TARGET, CROP = 5, 38
AS_STORED = {"resize": None, "crop": CROP, "workers": 0}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world of images of 40 pixels and more but for two of the source; sjft index has seen it.

    Of these, one is a neighbour in use, one is not.
    """
    (tmp_path / "world").mkdir()
    world = make_world(tmp_path / "world")
    for path in (world.target, world.source):
        run_sjft("index", path, "--force")
    sides = np.load(Path(world.source) / SIDES_FILE)
    assert sides.tolist() == [40 + i % 3 for i in range(TARGETS, TARGETS + SOURCES)]
    in_use = set(world.indices[:, :4].ravel().tolist())
    idle = next(i for i in range(SOURCES) if i not in in_use)
    sides[[idle, world.indices[0, 0]]] = 20
    np.save(Path(world.source) / SIDES_FILE, sides)
    return world


def joint(world: World, **changes: object) -> JointBatches:
    return JointBatches(parse_joint_data(world.param_str(**{**AS_STORED, **changes})))


def test_source_images_in_use_are_refused_and_others_are_not(world: World) -> None:
    first = re.escape(ImageLmdb(world.source).name(int(world.indices[0, 0])))
    message = (
        rf"^1 of the images to be drawn have a shorter side than crop = 38, the first is {first}, "
        "of 20 pixels: give 'resize' or 'resize_shorter'"
    )
    with pytest.raises(InputError, match=message):
        joint(world)


def test_what_is_resized_fits(world: World) -> None:
    joint(world, resize=40)
    joint(world, resize=None, resize_shorter=[38, 50])
    joint(world, crop=20)


def test_as_many_as_may_be_replaced_are_borne(world: World) -> None:
    joint(world, on_bad_image="replace", max_bad_images=1)
    with pytest.raises(InputError, match="1 of the images to be drawn"):
        joint(world, on_bad_image="replace", max_bad_images=0)


def test_nothing_is_known_of_an_lmdb_without_sizes(world: World) -> None:
    (Path(world.source) / SIDES_FILE).unlink()
    assert ImageLmdb(world.source).sides is None
    joint(world)


def test_target_images_are_refused_in_both_phases(tmp_path: Path) -> None:
    images = [draw_image(i, 30 if i == SMALL_TARGET else 60, 50) for i in range(8)]
    path = write_image_lmdb(tmp_path / "lmdb", images, list(range(8)))
    run_sjft("index", path, "--force")
    for train in (False, True):
        text = f'{{"target": "{path}", "batch_size": 2, "crop": 38{", " * train}'
        text += '"seed": 1}' if train else "}"
        with pytest.raises(InputError, match=rf"^1 of .* the first is record {SMALL_TARGET} .*30 "):
            TargetBatches(parse_target_data(text, train))


def test_caffe_train_ends_before_it_begins(world: World, tmp_path: Path) -> None:
    write_solver(tmp_path, world, resize=None, crop=CROP)
    said = run("caffe", "train", "-solver", "solver.prototxt", status=None, cwd=tmp_path)
    assert "1 of the images to be drawn have a shorter side than crop = 38" in said
    assert "Iteration 0" not in said


def test_joined_lmdbs_know_the_sizes_of_foreign_images(world: World, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    shutil.copy(Path(world.target) / "data.mdb", foreign)
    run_sjft("index", foreign)
    run_sjft("convert", "joined", foreign, foreign, tmp_path / "both")
    sides = ImageLmdb(str(tmp_path / "both")).sides
    assert sides is not None and sides.dtype == np.int32
    assert sides.tolist() == 2 * [40 + i % 3 for i in range(TARGETS)]
