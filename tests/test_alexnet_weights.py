"""The readers of AlexNet's weights: .npz and .caffemodel, old and damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from drawn_banks import random_weights, save_npz
from sjft.errors import InputError
from sjft_tools.banks.alexnet_weights import checksum, read_weights


def write_caffemodel(path: Path, arrays: dict[str, np.ndarray], legacy: bool = False) -> str:
    net = caffe_pb2.NetParameter()
    for name in ("conv1", "conv2"):
        layer = (net.layers if legacy else net.layer).add(name=name)
        for part in ("w", "b"):
            array = arrays[f"{name}_{part}"]
            blob = layer.blobs.add()
            blob.data.extend(array.ravel().tolist())
            if legacy:
                blob.num, blob.channels, blob.height, blob.width = (
                    array.shape if part == "w" else (1, 1, 1, len(array))
                )
            else:
                blob.shape.dim.extend(array.shape)
    path.write_bytes(net.SerializeToString())
    return str(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_from_a_caffemodel_equal_those_from_npz(tmp_path: Path, legacy: bool) -> None:
    arrays = random_weights()
    found = read_weights(write_caffemodel(tmp_path / "a.caffemodel", arrays, legacy))
    for name, array in arrays.items():
        assert (found[name] == array).all()
        assert found[name].shape == array.shape
    assert checksum(found) == checksum(read_weights(save_npz(tmp_path / "a.npz", arrays)))
    assert checksum(found) != checksum(random_weights(1))


def test_unusable_weights_are_refused(tmp_path: Path) -> None:
    arrays = random_weights()
    with pytest.raises(InputError, match=r"none\.npz does not exist \('sjft models' says where"):
        read_weights(str(tmp_path / "none.npz"))
    partial = {name: arrays[name] for name in ("conv1_w", "conv1_b")}
    with pytest.raises(InputError, match="lacks conv2_w, conv2_b"):
        read_weights(save_npz(tmp_path / "partial.npz", partial))
    (tmp_path / "noise.npz").write_bytes(b"not a zip file")
    with pytest.raises(InputError, match=r"noise\.npz cannot be read as \.npz"):
        read_weights(str(tmp_path / "noise.npz"))
    (tmp_path / "noise.caffemodel").write_bytes(b"\xff\xfe not a model")
    with pytest.raises(InputError, match=r"is not a \.caffemodel file, expected layers"):
        read_weights(str(tmp_path / "noise.caffemodel"))
    (tmp_path / "empty.caffemodel").write_bytes(b"")
    with pytest.raises(InputError, match=r"is not a \.caffemodel file, expected layers"):
        read_weights(str(tmp_path / "empty.caffemodel"))
    other = caffe_pb2.NetParameter()
    other.layer.add(name="fc").blobs.add().data.append(1)
    (tmp_path / "other.caffemodel").write_bytes(other.SerializeToString())
    with pytest.raises(InputError, match="has no layer conv1 with weights and bias"):
        read_weights(str(tmp_path / "other.caffemodel"))
    wrong = {**arrays, "conv1_w": np.zeros((64, 3, 7, 7), np.float32)}
    message = "conv1_w in .* have shape 64 x 3 x 7 x 7, expected 96 x 3 x 11 x 11"
    with pytest.raises(InputError, match=message):
        read_weights(save_npz(tmp_path / "wrong.npz", wrong))
    with pytest.raises(InputError, match=message):
        read_weights(write_caffemodel(tmp_path / "wrong.caffemodel", wrong))
    for value in (np.nan, np.inf):
        sick = {**arrays, "conv2_b": np.full(256, value, np.float32)}
        with pytest.raises(InputError, match=r"conv2_b in .* hold NaN or infinite values"):
            read_weights(save_npz(tmp_path / "sick.npz", sick))
