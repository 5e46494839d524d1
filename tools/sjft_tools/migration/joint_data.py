"""The authors' joint data layers as a JointDataLayer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sjft.errors import InputError
from sjft.layer_params import parse_joint_data
from sjft.levels import MAX_LEVEL
from sjft_tools.migration.fork import fork_params
from sjft_tools.nets import layers as L
from sjft_tools.nets.joint import DataPaths
from sjft_tools.nets.text import Message

JOINT_DATA = ("RefinedBoostedJointTrainingData", "RandomCropBoostedData")

_BOOSTED = "boosted_joint_training_data_param"
_NEIGHBOURS, _LEVELS = "target_nn_configuration_path", "target_domain_sample_weight_path"
#: Their files -> what makes ours of them.
_FILES = {
    "target_domain_image_label_path": "sjft import-original target-images",
    "source_domain_image_label_path": "sjft import-original source-images",
    _NEIGHBOURS: "sjft import-original neighbours",
    _LEVELS: "sjft import-original levels",
}
_LEFT_OUT = " --leave-out-validation"


@dataclass(frozen=True)
class Where:
    """Where our files lie, as seen from where Caffe is started; `targets`: one per version."""

    targets: list[str]
    source: str = DataPaths.source
    neighbours: str = DataPaths.neighbours
    levels: str | None = None
    mean: list[float] | None = None


def joint_data(layer: Message, tops: list[str], where: Where) -> tuple[Message, list[str]]:
    """Return the JointDataLayer for one of the JOINT_DATA, with `tops`, and notes about it.

    Raises InputError for what a JointDataLayer cannot do.
    """
    name, boosted = layer["name"], fork_params(layer, _BOOSTED)
    image, transform = layer.get("image_data_param", {}), layer.get("transform_param", {})
    notes: list[str] = []
    if image.get("is_color") is False or transform.get("force_gray"):
        raise InputError(f"the layer '{name}' reads grey images: sjft's layers give colours")
    if transform.get("scale", 1) != 1:
        raise InputError(
            f"the layer '{name}' scales pixels by {transform['scale']}: sjft's layers keep 0..255; "
            f"put the factor into the net, or expect weights trained without it"
        )
    size, crop = _sizes(layer, notes)
    params: dict[str, Any] = {
        "target": where.targets[0] if len(where.targets) == 1 else where.targets,
        "source": where.source,
        "neighbours": where.neighbours,
        "batch_size": image.get("batch_size", 1),
        "k0": boosted["base_selected_nn_num"],
        **({} if where.levels is None else {"levels": where.levels}),
        "min_source_per_class": boosted["least_sample_per_class"],
        **size,
        "crop": crop,
        "mirror": transform.get("mirror", False),
        "mean": _mean(name, transform, where, notes),
        "seed": 1,
    }
    notes += [
        f"{field} is not set: {boosted[field]}, as in the fork"
        for field in ("base_selected_nn_num", "least_sample_per_class", "highest_sample_level")
        if field not in layer.get(_BOOSTED, {})
    ]
    highest = boosted["highest_sample_level"]
    if highest > MAX_LEVEL:
        notes.append(f"highest_sample_level is cut to {MAX_LEVEL}")
    options = {_LEVELS: f" --highest {highest}"} if highest < MAX_LEVEL else {}
    if boosted["target_domain_val_num"]:
        notes.append(
            "target_domain_val_num is not carried over: the target LMDB's images are those shown"
        )
        options[_LEVELS] = options.get(_LEVELS, "") + _LEFT_OUT
        options[_NEIGHBOURS] = _LEFT_OUT
    notes += [
        f"{boosted[field]}: '{command}{options.get(field, '')}' reads it"
        for field, command in _FILES.items()
        if boosted.get(field)
    ]
    result = L.python_layer(name, "JointDataLayer", params, tops)
    parse_joint_data(result["python_param"]["param_str"])
    return L.only_in("TRAIN", result), notes


def _sizes(layer: Message, notes: list[str]) -> tuple[dict[str, Any], int]:
    """How images are resized, as keys of JointDataLayer, and the side of the crop."""
    name, image = layer["name"], layer.get("image_data_param", {})
    height, width = image.get("new_height", 0), image.get("new_width", 0)
    crop = layer.get("transform_param", {}).get("crop_size", 0) or height
    if height != width:
        raise InputError(
            f"the layer '{name}' has new_height {height} and new_width {width}: expected the same, "
            f"sjft's layers give squares"
        )
    if not crop:
        raise InputError(f"the layer '{name}' has neither crop_size nor new_height: expected one")
    if layer["type"] == JOINT_DATA[0]:
        return ({"resize": height} if height else {}), crop
    bounds = fork_params(layer, "random_crop_param")
    low, interval = bounds["lower_bound"], int(bounds["upper_bound"] - bounds["lower_bound"])
    if interval < 1:
        raise InputError(
            f"the layer '{name}' has the lower_bound {low} and the upper_bound "
            f"{bounds['upper_bound']}: expected a larger one"
        )
    if crop != height:
        notes.append(
            f"two random crops, of {height} and of {crop} in it, became one of {crop}: places near "
            f"the border are as likely as others now"
        )
    # The fork draws lower_bound + (a random integer below upper_bound - lower_bound).
    return {"resize_shorter": [int(low), int(low + interval - 1)]}, crop


def _mean(name: str, transform: Message, where: Where, notes: list[str]) -> list[float]:
    values = transform.get("mean_value", [])
    if where.mean is not None:
        return where.mean
    if transform.get("mean_file"):
        raise InputError(
            f"the layer '{name}' subtracts {transform['mean_file']}, a mean per pixel: sjft's "
            f"layers subtract one per colour; give it as --mean 104 117 123"
        )
    if not values:
        notes.append("no mean was subtracted: --mean B G R would")
        return [0, 0, 0]
    return values * 3 if len(values) == 1 else values
