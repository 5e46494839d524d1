"""A thousand spoilt ``param_str``: each ends in a valid layer or in one clear sentence."""

from __future__ import annotations

import faulthandler
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe
from caffe_nets import close_layers, net, python_layer
from joint_world import World, make_world
from sjft.errors import InputError

CASES = 1000
TOPS = {"JointDataLayer": ("a", "b", "c"), "TargetDataLayer": ("a", "b")}
LONGEST_S = 60  # for one of them

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 16, 33, 128, 2**31, 2**40, 2**63, 10**30, -(2**63)),
    *(0.5, -0.0, 1e300, 1e-300, "", "x", "replace", "error", "null", "\u0000", "é" * 50),
    *([], [1], [32, 40], [40, 32], [1, 2, 3], ["a"], [[]], [None] * 4, {}, {"a": 1}),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def spoilt(keys: dict[str, Any], rng: np.random.Generator) -> str:
    """Return JSON of `keys` with one to three things changed: values, keys, or bare bytes."""
    keys = dict(keys)
    names = [*keys, "levels", "prefetch", "prefetch_mb", "mirror", "mean", "max_per_class", "seed"]
    names += ["resize_shorter", "on_bad_image", "max_bad_images", "report_every"]
    for _ in range(rng.integers(1, 4)):
        name = names[rng.integers(len(names))]
        kind = rng.integers(5)
        if kind <= 2:
            keys[name] = VALUES[rng.integers(len(VALUES))]
        elif kind == 3:
            keys.pop(name, None)
        else:
            keys[name[: rng.integers(1, len(name) + 1)] + "x" * rng.integers(2)] = 1
    text = json.dumps(keys, ensure_ascii=bool(rng.integers(2)))
    if rng.integers(6) == 0:
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(text)))
            byte = chr(rng.integers(32, 127))
            text = text[:at] + ["", byte, byte + text[at]][rng.integers(3)] + text[at + 1 :]
    return text


def quoted(text: str) -> str:
    """Return `text` as a string of protobuf's text format, which python_layer puts into quotes."""
    return "".join(
        f"\\{byte:03o}" if byte < 32 or byte > 126 or chr(byte) in "'\\" else chr(byte)
        for byte in text.encode()
    )


@pytest.mark.parametrize("part", range(4))
def test_every_param_str_is_a_layer_or_a_sentence(world: World, tmp_path: Path, part: int) -> None:
    rng = np.random.default_rng(part)
    valid = refused = 0
    for number in range(CASES // 4):
        layer = "JointDataLayer" if rng.integers(3) else "TargetDataLayer"
        keys = world.params(workers=int(rng.integers(2)))
        phase = caffe.TRAIN
        if layer == "TargetDataLayer":
            keys = {k: keys[k] for k in ("target", "batch_size", "resize", "crop", "workers")}
            phase = (caffe.TRAIN, caffe.TEST)[rng.integers(2)]
        text = spoilt(keys, rng)
        faulthandler.dump_traceback_later(LONGEST_S, exit=True)
        try:
            opened = net(tmp_path, python_layer(layer, quoted(text), TOPS[layer]), phase)
            try:
                opened.forward()
                assert all(np.isfinite(blob.data).all() for blob in opened.blobs.values())
                valid += 1
            finally:
                close_layers(opened)
        except InputError as error:
            refused += 1
            sentence = str(error)
            assert sentence.startswith(f"{layer}: "), (number, text, sentence)
            assert len(sentence) > len(layer) + 20, (number, text, sentence)
        finally:
            faulthandler.cancel_dump_traceback_later()
    assert valid + refused == CASES // 4
    assert min(valid, refused) > CASES // 100
