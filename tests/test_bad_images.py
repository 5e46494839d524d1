"""Images that cannot be used in the middle of training: refused, or replaced as a pair."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import draw_image
from joint_world import TARGETS, World, make_world
from processes import run
from sjft.bad_images import BadImages
from sjft.batches import JointBatches, TargetBatches
from sjft.errors import BadImageError, InputError
from sjft.image_lmdb import ImageLmdb
from sjft.layer_params import parse_joint_data, parse_target_data
from sjft.prefetch import open_stream
from sjft_tools.image_lmdb_writer import ImageLmdbWriter, encoded_datum
from sjft_tools.neighbour_lmdb_writer import write_neighbours
from whole_batches import blank

#: One that cannot be decoded, and one that is smaller than the crop.
BAD_TARGETS = {3: "undecodable", 9: "small"}
BAD_SOURCES = {0, 7, 21}
BATCHES = 12


def record(seed: int, label: int, fault: str = "") -> bytes:
    if fault == "undecodable":
        return encoded_datum(b"\xff\xd8 no picture", label)
    image = draw_image(seed, 20, 50) if fault == "small" else draw_image(seed)
    return encoded_datum(cv2.imencode(".png", image)[1].tobytes(), label)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world of which five images are bad."""
    folder = tmp_path_factory.mktemp("bad_world")
    (folder / "sound").mkdir()
    sound = make_world(folder / "sound")
    labels = {name: ImageLmdb(getattr(sound, name)).labels for name in ("target", "source")}
    faults = {"target": BAD_TARGETS, "source": dict.fromkeys(BAD_SOURCES, "undecodable")}
    for name, ours in labels.items():
        with ImageLmdbWriter(str(folder / name)) as writer:
            for i, label in enumerate(ours.tolist()):
                value = record(i + 1000 * (name == "source"), label, faults[name].get(i, ""))
                writer.add(value, label)
    target, source = (ImageLmdb(str(folder / name), name) for name in labels)
    write_neighbours(
        str(folder / "neighbours"),
        target,
        source,
        sound.indices.astype(np.int64),
        np.tile(np.arange(sound.indices.shape[1], dtype=np.float32), (TARGETS, 1)),
        {"bank": "gabor"},
    )
    return World(target.path, source.path, str(folder / "neighbours"), sound.indices)


def joint(world: World, **changes: object) -> tuple[JointBatches, object]:
    keys = {"resize": None, "crop": 32, "mirror": False, "on_bad_image": "replace", **changes}
    params = parse_joint_data(world.param_str(**keys))
    return JointBatches(params), params.prefetch


def taken(batches: JointBatches | TargetBatches, prefetch: object, count: int) -> list[dict]:
    stream = open_stream(batches, prefetch)  # type: ignore[arg-type]
    seen = []
    for _ in range(count):
        out = blank(batches)
        stream.next_into(out)
        seen.append(out)
    stream.close()
    return seen


def owner(row: np.ndarray, lmdb: ImageLmdb, crop: int = 32) -> set[int]:
    """The images of which `row` is a crop."""
    pixels = np.rint(row + np.array([104, 117, 123])[:, None, None]).astype(np.uint8)
    found = set()
    for i in range(lmdb.count):
        try:
            image = lmdb.image(i)
        except BadImageError:
            continue
        if min(image.shape[:2]) >= crop:
            match = cv2.matchTemplate(image, pixels.transpose(1, 2, 0), cv2.TM_SQDIFF)
            if match.min() < 1000:  # of a sum of up to 2e8, in float32
                found.add(i)
    return found


def test_the_pair_is_replaced_by_one_of_the_same_class(world: World) -> None:
    batches, prefetch = joint(world, workers=0)
    target, source = ImageLmdb(world.target), ImageLmdb(world.source)
    plans = [batches._sampler.plan(b) for b in range(BATCHES)]
    replaced = 0
    for plan, batch in zip(plans, taken(batches, prefetch, BATCHES)):
        for j, (i, s) in enumerate(zip(plan.targets, plan.sources)):
            shown = int(batch["target_indices"][j])
            assert owner(batch["data"][j], target) == {shown}
            assert batch["target_labels"][j] == target.labels[i] == target.labels[shown]
            (shown_source,) = owner(batch["data"][4 + j], source)
            assert shown_source in world.indices[shown, :4]
            assert batch["source_labels"][j] == batches._selection.labels[shown_source]
            if i in BAD_TARGETS or s in BAD_SOURCES:
                replaced += 1
                assert shown not in BAD_TARGETS
                assert shown_source not in BAD_SOURCES
            else:
                assert (shown, shown_source) == (i, s)
    assert replaced > 5


def test_the_same_stands_in_whatever_the_number_of_workers(world: World) -> None:
    expected = taken(*joint(world, workers=0), BATCHES)
    for workers in (1, 3):
        seen = taken(*joint(world, workers=workers, prefetch=5), BATCHES)
        for one, other in zip(expected, seen):
            assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_bad_image_is_named_once(
    world: World, workers: int, capfd: pytest.CaptureFixture
) -> None:
    taken(*joint(world, workers=workers), 3 * BATCHES)
    said = [line for line in capfd.readouterr().err.splitlines() if "stand in for it" in line]
    assert len(said) == len(set(said)) == 5
    assert [f"so far: {n + 1}, at most 100" in line for n, line in enumerate(said)] == [True] * 5
    named = sorted(line.split("record ")[1].split(" (key")[0] for line in said)
    assert named == sorted(map(str, [*BAD_TARGETS, *BAD_SOURCES]))


@pytest.mark.parametrize("workers", [0, 2])
def test_above_the_limit_training_stops_at_the_same_batch(world: World, workers: int) -> None:
    batches, prefetch = joint(world, workers=workers, max_bad_images=3)
    stream = open_stream(batches, prefetch)  # type: ignore[arg-type]
    out = blank(batches)
    batch = -1
    with pytest.raises(InputError) as error:
        while True:
            stream.next_into(out)
            batch += 1
    assert "4 images cannot be used, more than max_bad_images = 3 allows; the last: " in str(
        error.value
    )
    stream.close()
    limit = BadImages(3)
    with pytest.raises(InputError):
        for expected in range(100):
            limit.note(batches.fill(expected, out))
    assert batch == expected - 1


@pytest.mark.parametrize("workers", [0, 2])
def test_by_default_a_bad_image_stops_training(world: World, workers: int) -> None:
    assert parse_joint_data(world.param_str()).on_bad_image == "error"
    with pytest.raises(InputError, match=r"^(record \d+ .* cannot be decoded|crop 32 is larger)"):
        taken(*joint(world, workers=workers, on_bad_image="error"), BATCHES)


def target_batches(path: str, **changes: object) -> tuple[TargetBatches, object]:
    keys = {"target": path, "batch_size": 7, "crop": 32, "workers": 0, "on_bad_image": "replace"}
    params = parse_target_data(json.dumps({**keys, **changes}), train=True)
    return TargetBatches(params), params.prefetch


def test_target_layer_replaces_by_the_same_class(world: World) -> None:
    target = ImageLmdb(world.target)
    batches, prefetch = target_batches(world.target, mirror=False)
    expected = [batches._epochs.slots(7 * b, 7) for b in range(6)]  # type: ignore[union-attr]
    replaced = 0
    for positions, batch in zip(expected, taken(batches, prefetch, 6)):
        assert np.array_equal(batch["labels"], target.labels[positions])
        for i, row in zip(positions.tolist(), batch["data"]):
            (shown,) = owner(row, target)
            assert (shown == i) != (i in BAD_TARGETS)
            replaced += i in BAD_TARGETS
    assert replaced == 2 * 3  # two bad images in each of three epochs


def test_nothing_is_replaced_in_the_test_phase(world: World) -> None:
    for key, value in (("on_bad_image", "replace"), ("max_bad_images", 5)):
        with pytest.raises(InputError, match=f"'{key}' is for the TRAIN phase only"):
            parse_target_data(json.dumps({"target": world.target, key: value}), train=False)
    keys = {"target": world.target, "batch_size": TARGETS, "crop": 32, "workers": 0}
    params = parse_target_data(json.dumps(keys), train=False)
    with pytest.raises(InputError, match=r"^record 3 .* cannot be decoded"):
        taken(TargetBatches(params), params.prefetch, 1)


def test_a_set_without_a_usable_image_ends_in_a_sentence(tmp_path: Path) -> None:
    with ImageLmdbWriter(str(tmp_path / "lmdb")) as writer:
        for i in range(4):
            writer.add(record(i, i % 2, "undecodable"), i % 2)
    batches, prefetch = target_batches(str(tmp_path / "lmdb"), batch_size=2)
    with pytest.raises(InputError, match=r"^of 20 images drawn in turn none could be used, the"):
        taken(batches, prefetch, 1)


def test_the_only_image_of_its_class_gives_way_to_any(tmp_path: Path) -> None:
    with ImageLmdbWriter(str(tmp_path / "lmdb")) as writer:
        for i in range(6):
            label = int(i == 2)
            writer.add(record(i, label, "undecodable" if i == 2 else ""), label)
    batches, prefetch = target_batches(str(tmp_path / "lmdb"), batch_size=6)
    (batch,) = taken(batches, prefetch, 1)
    assert (batch["labels"] == 0).all()


@pytest.mark.parametrize("value", ["skip", True, None, 3])
def test_other_words_are_refused(world: World, value: object) -> None:
    with pytest.raises(InputError, match='\'on_bad_image\' must be "error" or "replace", got'):
        parse_joint_data(world.param_str(on_bad_image=value))


LITTLE_MEMORY = """
import mmap, resource, sys
import cv2, numpy as np
from sjft.images import decode_image

encoded = cv2.imencode(sys.argv[1], np.zeros((6000, 6000, 3), np.uint8))[1].tobytes()
assert decode_image(encoded, "x").shape == (6000, 6000, 3)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * mmap.PAGESIZE
resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20), resource.RLIM_INFINITY))
try:
    decode_image(encoded, "record 7")
except MemoryError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_want_of_memory_is_no_fault_of_the_image(kind: str) -> None:
    printed = run(sys.executable, "-c", LITTLE_MEMORY, kind)
    assert re.search(r"^record 7 cannot be decoded: Failed to allocate \d+ bytes", printed, re.M)
